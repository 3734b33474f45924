"""Reads prompts from a folder while a request runs, inside the graph.

A task is added to a running server by copying its prompt's folder. Whatever
a request asks for, it gets a status in words; only folders directly below
the root are opened.

Letters: B rows, U distinct tasks, P the longest prompt's length, D d_model.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_prompt.prompt_files import CARD, CHECKPOINT, DATA, INDEX, KEY
from keras_prompt.types import Tensor

OK = "ok"
# One folder's name: no separator, no parent, no glob, no hidden folder.
TASK_NAME = "[A-Za-z0-9][A-Za-z0-9_.-]{0,127}"
_FLOAT_BYTES = 4
_LEAST_INDEX_BYTES = 48  # the footer of an SSTable


class RowPrompts(NamedTuple):
    """Each row's prompt.

    Attributes:
        vectors: float32 (B, P, D), zeros after a prompt's end.
        lengths: int32 (B,), 0 where there is no prompt.
        status: string (B,), "ok" or why there is none.
    """

    vectors: Tensor
    lengths: Tensor
    status: Tensor


def read_row_prompts(
    root: Tensor, tasks: Tensor, *, d_model: int, fingerprint: str
) -> RowPrompts:
    """Reads the prompt of every distinct task once.

    Args:
        root: string scalar, the folder of the prompts' folders.
        tasks: string (B,), names of folders in it.
        d_model: D.
        fingerprint: of the base; prompts of another are refused.
    """
    names, place = tf.unique(tasks)
    vectors, status = tf.map_fn(
        lambda name: _read_one(root, name, d_model, fingerprint),
        names,
        fn_output_signature=(
            tf.RaggedTensorSpec([None, d_model], tf.float32, ragged_rank=0),
            tf.TensorSpec([], tf.string),
        ),
    )
    lengths = tf.cast(vectors.row_lengths(), tf.int32)
    table = vectors.to_tensor(0.0, shape=[None, None, d_model])  # (U, P, D)
    return RowPrompts(
        vectors=tf.gather(table, place),
        lengths=tf.gather(lengths, place),
        status=tf.gather(status, place),
    )


def _read_one(
    root: Tensor, name: Tensor, d_model: int, fingerprint: str
) -> tuple[Tensor, Tensor]:
    """A prompt, float32 (its length, D), and its status."""
    nothing = tf.zeros([0, d_model])

    def refuse(*words: str | Tensor) -> tuple[Tensor, Tensor]:
        return nothing, tf.strings.join([*words])

    def read() -> tuple[Tensor, Tensor]:
        folder = tf.strings.join([root, "/", name, "/"])
        is_there = [
            tf.size(tf.io.matching_files(folder + file)) == 1
            for file in (CARD, INDEX, DATA)
        ]
        return tf.cond(
            tf.reduce_all(is_there),
            lambda: read_folder(folder),
            lambda: refuse("unknown task '", name, "'"),
        )

    def read_folder(folder: Tensor) -> tuple[Tensor, Tensor]:
        card = tf.io.read_file(folder + CARD)
        base = _text(card, "base")
        length = _number(card, "prompt_length")
        length = tf.strings.to_number(tf.where(length == "?", "0", length))
        data_bytes = tf.strings.length(tf.io.read_file(folder + DATA))
        index_bytes = tf.strings.length(tf.io.read_file(folder + INDEX))
        is_whole = (
            tf.cast(data_bytes, tf.float32) >= _FLOAT_BYTES * d_model * length
        ) & (index_bytes >= _LEAST_INDEX_BYTES)
        return tf.case(
            [
                (
                    tf.not_equal(_text(card, "fingerprint"), fingerprint),
                    lambda: refuse(
                        "prompt '", name, "' is of another base: ", base
                    ),
                ),
                (
                    tf.logical_not(is_whole),
                    lambda: refuse("prompt '", name, "' is damaged"),
                ),
            ],
            default=lambda: restore(folder),
        )

    def restore(folder: Tensor) -> tuple[Tensor, Tensor]:
        (prompt,) = tf.raw_ops.RestoreV2(
            prefix=folder + CHECKPOINT,
            tensor_names=[KEY],
            shape_and_slices=[""],
            dtypes=[tf.float32],
        )
        return tf.ensure_shape(prompt, [None, d_model]), tf.constant(OK)

    is_name = tf.strings.regex_full_match(name, TASK_NAME)
    # A hostile name is not repeated: it may be long, or no text.
    return tf.cond(is_name, read, lambda: refuse("invalid task name"))


def _text(card: Tensor, field: str) -> Tensor:
    """A text field of a card, "?" if it has none."""
    # In JSON a value's quotation marks and line ends are escaped, and what is
    # nested is indented further: this finds fields of the card alone.
    return _field(card, rf'"{field}": "([^"\\]*)"')


def _number(card: Tensor, field: str) -> Tensor:
    """A field's digits, "?" if it has none."""
    return _field(card, rf'"{field}": ([0-9]{{1,9}})')


def _field(card: Tensor, pattern: str) -> Tensor:
    pattern = rf"(?s)^.*\n  {pattern},?\n.*$"
    found = tf.strings.regex_replace(card, pattern, r"\1")
    return tf.where(tf.strings.regex_full_match(card, pattern), found, "?")
