"""One frozen T5 as a SavedModel that serves every task's prompt.

Letters: B rows, S input tokens, P prompt length, D d_model, T output tokens,
L labels.
"""

from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_prompt.arguments import LONGEST, check_integers
from keras_prompt.atomic_files import new_folder
from keras_prompt.export.checkpoint_parts import split_checkpoint, stored_bytes
from keras_prompt.export.graph_text import GraphText
from keras_prompt.export.prompt_sources import RootFolder, VariableBank
from keras_prompt.export.server_answers import Answers, sent_prompts
from keras_prompt.export.server_card import (
    ServerCard,
    absolute_root,
    read_server_card,
    refuse_other_content,
    write_server_card,
)
from keras_prompt.export.server_text import text_signatures
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.tokenizer import Tokenizer
from keras_prompt.types import Tensor

__all__ = ["ServerCard", "export_server", "read_server_card"]

_IDS = tf.TensorSpec([None, None], tf.int32, name="token_ids")
_LENGTHS = tf.TensorSpec([None], tf.int32, name="token_lengths")
_TASKS = tf.TensorSpec([None], tf.string, name="task")
_TARGETS = tf.TensorSpec([None, None, None], tf.int32, name="target_ids")
_TARGET_LENGTHS = tf.TensorSpec([None, None], tf.int32, name="target_lengths")


class _Server(tf.Module):
    """What is saved: the weights once, and the signatures."""

    def __init__(
        self,
        backbone: MeshT5Backbone,
        card: ServerCard,
        source: RootFolder | VariableBank,
        text: GraphText | None,
    ) -> None:
        super().__init__()
        # Variables, not the Keras layer: Keras' own tracking would store
        # each a second time.
        self.weights = [weight.value for weight in backbone.weights]
        self.source = source
        self.text = text
        self.answers = Answers(backbone, card)

    @tf.function(input_signature=[_TASKS, _IDS, _LENGTHS], autograph=False)
    def generate(
        self, task: Tensor, token_ids: Tensor, token_lengths: Tensor
    ) -> dict[str, Tensor]:
        prompts = self.source.prompts(task)
        return self.answers.generate(prompts, token_ids, token_lengths)

    @tf.function(
        input_signature=[_TASKS, _IDS, _LENGTHS, _TARGETS, _TARGET_LENGTHS],
        autograph=False,
    )
    def score(
        self,
        task: Tensor,
        token_ids: Tensor,
        token_lengths: Tensor,
        target_ids: Tensor,
        target_lengths: Tensor,
    ) -> dict[str, Tensor]:
        prompts = self.source.prompts(task)
        return self.answers.score(
            prompts, token_ids, token_lengths, target_ids, target_lengths
        )


def export_server(
    backbone: MeshT5Backbone,
    path: str | Path,
    prompt_root: str | Path | None,
    *,
    input_length: int = 512,
    max_length: int = 32,
    tokenizer: Tokenizer | None = None,
) -> int:
    """Writes a frozen T5 as a SavedModel for TensorFlow Serving.

    A request names its rows' tasks; the prompt of each is read, while the
    request runs, from the folder of that name in `prompt_root`. To add a task
    to a running server, copy an exported prompt there.

    Signatures, whose batch and length are dynamic:

    * `serving_default`, also named `generate`: `task` string (B,),
      `token_ids` int32 (B, S) and `token_lengths` int32 (B,), EOS included,
      to `output_ids` int32 (B, max_length), greedily, and `status`.
    * `with_prompt`: instead of `task`, `prompt` float32 (B, P, D) and
      `prompt_lengths` int32 (B,).
    * `score`: as `serving_default`, `target_ids` int32 (B, L, T) and
      `target_lengths` int32 (B, L), to `scores` float32 (B, L), summed
      log-likelihoods.

    With a `tokenizer` there are also, of ops that TensorFlow Text registers:

    * `generate_text`: `task` and `text`, string (B,), to `output_text`, string
      (B,), and `status`.
    * `with_prompt_text`: instead of `task`, the prompt as above.
    * `score_text`: as `generate_text`, `target_text` string (B, L), to
      `scores` and `status`.

    Lengths say what is padding, whatever it is filled with: a server that
    puts requests together fills with the first id it finds.

    `status` is string (B,): "ok", or what is wrong with the row, whose answer
    is then zeros: an unknown task, a prompt of another base, an empty or too
    long input, ids outside the vocabulary. Other rows are not touched by it.

    Args:
        backbone: of the prompts that will be served.
        path: folder to make, such as "server/base/1"; one that is empty or
            holds an exported server is replaced, in one step.
        prompt_root: folder of the prompts' folders, as the server will see
            it; need not exist yet. None makes the base of fixed releases,
            whose prompts `assemble_release` puts into variables.
        input_length: the most tokens of an input.
        max_length: the most tokens to write.
        tokenizer: of the backbone, for signatures that take and give text;
            none leaves them out, and the graph without custom ops.

    Returns:
        Bytes of all files.

    Raises:
        ValueError: a length is not positive, the root has glob characters,
            the folder holds something else, the backbone is on a mesh, or
            the tokenizer has ids that it has not.
        OSError: the place cannot be written; nothing is left behind.
    """
    check_integers(
        input_length=(input_length, 1),
        max_length=(max_length, 1, LONGEST),
    )
    if backbone.device_count > 1:
        raise ValueError(
            "`backbone` must be on one device: its devices would be written "
            "into the graph. Load it without `mesh_shape`. "
            f"Received: a mesh of {backbone.device_count}"
        )
    vocab_size = backbone.config.vocab_size
    if tokenizer is not None and tokenizer.vocabulary_size > vocab_size:
        raise ValueError(
            f"`tokenizer` has {tokenizer.vocabulary_size} ids, but "
            f"{backbone.preset} has {vocab_size}. Give the backbone's own."
        )
    root = None if prompt_root is None else absolute_root(prompt_root)
    folder = Path(path)
    refuse_other_content(folder)
    card = ServerCard(
        base=backbone.preset,
        fingerprint=backbone.fingerprint(),
        d_model=backbone.config.d_model,
        vocab_size=vocab_size,
        input_length=int(input_length),
        max_length=int(max_length),
        prompt_root=root,
        takes_text=tokenizer is not None,
    )
    try:
        with new_folder(folder) as partial:
            _save(partial, backbone, card, tokenizer)
    except (OSError, tf.errors.OpError) as error:
        reason = getattr(error, "strerror", None) or str(error).split("; ")[-1]
        raise OSError(
            f"The server cannot be written to {folder}: {reason}."
        ) from error
    return stored_bytes(folder)


def _save(
    folder: Path,
    backbone: MeshT5Backbone,
    card: ServerCard,
    tokenizer: Tokenizer | None,
) -> None:
    source: RootFolder | VariableBank
    if card.prompt_root is None:
        source = VariableBank(card.d_model)
    else:
        source = RootFolder(
            folder, card.prompt_root, card.d_model, card.fingerprint
        )
    text = None if tokenizer is None else GraphText(tokenizer)
    server = _Server(backbone, card, source, text)
    tf.saved_model.save(
        server,
        str(folder),
        signatures=_signatures(server, card),
        options=tf.saved_model.SaveOptions(save_debug_info=False),
    )
    source.clean_up()
    write_server_card(folder, card)
    if card.prompt_root is None:
        split_checkpoint(folder, server.weights)


def _signatures(server: _Server, card: ServerCard) -> dict[str, Any]:
    answers = server.answers

    def with_prompt(
        token_ids: Tensor,
        token_lengths: Tensor,
        prompt: Tensor,
        prompt_lengths: Tensor,
    ) -> dict[str, Tensor]:
        prompts = sent_prompts(prompt, prompt_lengths, card.d_model)
        return answers.generate(prompts, token_ids, token_lengths)

    of_texts = (
        {}
        if server.text is None
        else text_signatures(server.text, answers, server.source)
    )
    return {
        "serving_default": server.generate,
        "generate": server.generate,
        "score": server.score,
        # Its shape has a number that only this base knows.
        "with_prompt": tf.function(
            with_prompt, autograph=False
        ).get_concrete_function(
            _IDS,
            _LENGTHS,
            tf.TensorSpec([None, None, card.d_model], tf.float32, "prompt"),
            tf.TensorSpec([None], tf.int32, "prompt_lengths"),
        ),
        **of_texts,
    }
