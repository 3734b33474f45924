"""Signatures that take and give text, beside those of token ids."""

from typing import Any

import tensorflow as tf

from keras_prompt.export.graph_text import GraphText, TextRows
from keras_prompt.export.prompt_sources import RootFolder, VariableBank
from keras_prompt.export.request_prompts import RowPrompts
from keras_prompt.export.server_answers import (
    Answers,
    first_problem,
    sent_prompts,
)
from keras_prompt.types import Tensor

_TASKS = tf.TensorSpec([None], tf.string, name="task")
_TEXTS = tf.TensorSpec([None], tf.string, name="text")
_TARGETS = tf.TensorSpec([None, None], tf.string, name="target_text")


def text_signatures(
    vocabulary: GraphText, answers: Answers, source: RootFolder | VariableBank
) -> dict[str, Any]:
    """`generate_text`, `score_text` and `with_prompt_text`.

    Each does what the signature of ids does with the ids of its texts, EOS
    after each. A row without tokens is an empty one.
    """

    def generate(prompts: RowPrompts, text: Tensor) -> dict[str, Tensor]:
        rows = vocabulary.rows(tf.ensure_shape(text, [None]))
        found = answers.generate(
            _refuse_bytes(prompts, rows), rows.token_ids, rows.lengths
        )
        return {
            "output_text": vocabulary.decode(found["output_ids"]),
            "status": found["status"],
        }

    def generate_text(task: Tensor, text: Tensor) -> dict[str, Tensor]:
        return generate(source.prompts(task), text)

    def with_prompt_text(
        text: Tensor, prompt: Tensor, prompt_lengths: Tensor
    ) -> dict[str, Tensor]:
        d_model = answers.card.d_model
        return generate(sent_prompts(prompt, prompt_lengths, d_model), text)

    def score_text(
        task: Tensor, text: Tensor, target_text: Tensor
    ) -> dict[str, Tensor]:
        rows = vocabulary.rows(tf.ensure_shape(text, [None]))
        target_text = tf.ensure_shape(target_text, [None, None])
        shape = tf.shape(target_text)
        targets = vocabulary.rows(tf.reshape(target_text, [-1]))
        are_texts = tf.reduce_all(tf.reshape(targets.is_text, shape), axis=1)
        prompts = _refuse_bytes(source.prompts(task), rows)
        status = first_problem(
            prompts.status, (~are_texts, "a target is no UTF-8 text")
        )
        return answers.score(
            prompts._replace(status=status),
            rows.token_ids,
            rows.lengths,
            tf.reshape(
                targets.token_ids,
                tf.concat([shape, tf.shape(targets.token_ids)[1:]], axis=0),
            ),
            tf.reshape(targets.lengths, shape),
        )

    prompt = [
        tf.TensorSpec([None, None, answers.card.d_model], tf.float32, "prompt"),
        tf.TensorSpec([None], tf.int32, "prompt_lengths"),
    ]
    return {
        function.__name__: tf.function(
            function, autograph=False
        ).get_concrete_function(*inputs)
        for function, inputs in (
            (generate_text, [_TASKS, _TEXTS]),
            (score_text, [_TASKS, _TEXTS, _TARGETS]),
            (with_prompt_text, [_TEXTS, *prompt]),
        )
    }


def _refuse_bytes(prompts: RowPrompts, rows: TextRows) -> RowPrompts:
    """A row whose input is no text has that for its status."""
    return prompts._replace(
        status=first_problem(
            prompts.status, (~rows.is_text, "the input is no UTF-8 text")
        )
    )
