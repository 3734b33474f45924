"""One frozen T5 as a SavedModel that serves every task's prompt.

Letters: B rows, S input tokens, P prompt length, D d_model, T output tokens,
L labels.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from keras_prompt.atomic_files import partial_path, remove, replace_folder
from keras_prompt.export.request_prompts import (
    OK,
    RowPrompts,
    read_row_prompts,
)
from keras_prompt.layers.prompt_bank import prepend
from keras_prompt.models import decoding
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.prompt_files import folder_bytes
from keras_prompt.types import Tensor

CARD = "assets.extra/server.json"
FORMAT_VERSION = 1
_ROOT_FILE = "prompt_root.txt"
_IDS = tf.TensorSpec([None, None], tf.int32, name="token_ids")
_LENGTHS = tf.TensorSpec([None], tf.int32, name="token_lengths")
_TASKS = tf.TensorSpec([None], tf.string, name="task")
_TARGETS = tf.TensorSpec([None, None, None], tf.int32, name="target_ids")


@dataclasses.dataclass(frozen=True)
class ServerCard:
    """What is known of an exported server.

    Attributes:
        base: the backbone's preset.
        fingerprint: of its weights; prompts of another are refused.
        d_model: D.
        vocab_size: ids must be below it.
        input_length: the most tokens of an input, EOS included.
        max_length: the most tokens that are written, EOS included.
        prompt_root: where the prompts' folders are looked for.
        format_version: of this folder.
    """

    base: str
    fingerprint: str
    d_model: int
    vocab_size: int
    input_length: int
    max_length: int
    prompt_root: str
    format_version: int = FORMAT_VERSION


class _Inputs(NamedTuple):
    """Embedded inputs behind their prompts, and a status for each row."""

    embedded: Tensor
    padding_mask: Tensor
    status: Tensor


class _Server(tf.Module):
    """What is saved: the weights once, and the signatures.

    Every row has a status, "ok" or what is wrong with it; the answer of a row
    that is not ok is zeros. No row fails the others of its batch.
    """

    def __init__(
        self, backbone: MeshT5Backbone, card: ServerCard, root_file: Path
    ) -> None:
        super().__init__()
        # Variables, not the Keras layer: Keras' own tracking would store
        # each a second time.
        self.weights = [weight.value for weight in backbone.weights]
        self.root = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                str(root_file),
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
            ),
            default_value="",
        )
        self.answers = _Answers(backbone, card)

    def _prompts(self, task: Tensor) -> RowPrompts:
        with tf.device("CPU:0"):
            root = self.root.lookup(tf.constant(0, tf.int64))
            return read_row_prompts(
                root,
                tf.ensure_shape(task, [None]),
                d_model=self.answers.card.d_model,
                fingerprint=self.answers.card.fingerprint,
            )

    @tf.function(input_signature=[_TASKS, _IDS, _LENGTHS], autograph=False)
    def generate(
        self, task: Tensor, token_ids: Tensor, token_lengths: Tensor
    ) -> dict[str, Tensor]:
        prompts = self._prompts(task)
        return self.answers.generate(prompts, token_ids, token_lengths)

    @tf.function(
        input_signature=[_TASKS, _IDS, _LENGTHS, _TARGETS], autograph=False
    )
    def score(
        self,
        task: Tensor,
        token_ids: Tensor,
        token_lengths: Tensor,
        target_ids: Tensor,
    ) -> dict[str, Tensor]:
        prompts = self._prompts(task)
        return self.answers.score(prompts, token_ids, token_lengths, target_ids)


class _Answers:
    """What the signatures compute once each row has its prompt."""

    def __init__(self, backbone: MeshT5Backbone, card: ServerCard) -> None:
        self._backbone = backbone
        self.card = card

    def generate(
        self, prompts: RowPrompts, token_ids: Tensor, token_lengths: Tensor
    ) -> dict[str, Tensor]:
        """Greedy decoding with a cache, int32 (B, T)."""
        inputs = self._inputs(prompts, token_ids, token_lengths)
        backbone = self._backbone
        encoded = backbone.encode(inputs.embedded, inputs.padding_mask)
        output_ids = decoding.generate_token_ids(
            backbone,
            decoding.get_sampler("greedy"),
            encoded,
            inputs.padding_mask,
            self.card.max_length,
        )
        is_ok = tf.equal(inputs.status, OK)
        return {
            "output_ids": tf.where(is_ok[:, None], output_ids, 0),
            "status": inputs.status,
        }

    def score(
        self,
        prompts: RowPrompts,
        token_ids: Tensor,
        token_lengths: Tensor,
        target_ids: Tensor,
    ) -> dict[str, Tensor]:
        """Log-likelihoods of (B, L, T) targets, float32 (B, L)."""
        target_ids = tf.ensure_shape(target_ids, [None, None, None])
        is_id = self._is_id(target_ids)
        inputs = self._inputs(prompts, token_ids, token_lengths)
        status = _first_problem(
            inputs.status,
            (
                tf.logical_not(tf.reduce_all(is_id, axis=[1, 2])),
                "a target id is outside the vocabulary",
            ),
        )
        encoded = self._backbone.encode(inputs.embedded, inputs.padding_mask)
        scores = decoding.score_targets(
            self._backbone,
            encoded,
            inputs.padding_mask,
            tf.where(is_id, target_ids, 0),
        )
        is_ok = tf.equal(status, OK)
        return {
            "scores": tf.where(is_ok[:, None], scores, 0.0),
            "status": status,
        }

    def _inputs(
        self, prompts: RowPrompts, token_ids: Tensor, token_lengths: Tensor
    ) -> _Inputs:
        # A server does not compare ranks with the signature's.
        token_ids = tf.ensure_shape(token_ids, [None, None])
        token_lengths = tf.ensure_shape(token_lengths, [None])
        size = tf.shape(token_ids)[1]
        limit = self.card.input_length
        lengths = tf.clip_by_value(token_lengths, 0, size)
        mask = tf.range(size) < lengths[:, None]
        is_id = self._is_id(token_ids)
        status = _first_problem(
            prompts.status,
            (token_lengths < 1, "empty input"),
            (token_lengths > size, "token_lengths exceeds the row's tokens"),
            (token_lengths > limit, f"input longer than {limit} tokens"),
            (
                tf.reduce_any(mask & ~is_id, axis=1),
                "a token id is outside the vocabulary",
            ),
        )
        embedded = self._backbone.embed(tf.where(is_id, token_ids, 0))
        embedded, padding_mask = prepend(
            tf.cast(prompts.vectors, embedded.dtype),
            prompts.lengths,
            embedded,
            mask,
        )
        return _Inputs(embedded, padding_mask, status)

    def _is_id(self, ids: Tensor) -> Tensor:
        return (ids >= 0) & (ids < self.card.vocab_size)


def export_server(
    backbone: MeshT5Backbone,
    path: str | Path,
    prompt_root: str | Path,
    *,
    input_length: int = 512,
    max_length: int = 32,
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
    * `score`: as `serving_default` and `target_ids` int32 (B, L, T), padded
      with 0, to `scores` float32 (B, L), summed log-likelihoods.

    `status` is string (B,): "ok", or what is wrong with the row, whose answer
    is then zeros: an unknown task, a prompt of another base, an empty or too
    long input, ids outside the vocabulary. Other rows are not touched by it.

    Args:
        backbone: of the prompts that will be served.
        path: folder to make, such as "server/base/1"; one that is empty or
            holds an exported server is replaced, in one step.
        prompt_root: folder of the prompts' folders, as the server will see
            it; need not exist yet.
        input_length: the most tokens of an input.
        max_length: the most tokens to write.

    Returns:
        Bytes of all files.

    Raises:
        ValueError: a length is not positive, the root has glob characters, or
            the folder holds something else.
        OSError: the place cannot be written; nothing is left behind.
    """
    for argument, value in (
        ("input_length", input_length),
        ("max_length", max_length),
    ):
        if not isinstance(value, int) or value < 1:
            raise ValueError(
                f"`{argument}` must be a positive integer. "
                f"Received: {argument}={value!r}"
            )
    root = str(Path(prompt_root).absolute())
    if set(root) & set("*?[]\\\n"):
        raise ValueError(
            "`prompt_root` must not contain any of * ? [ ] \\ or a line end, "
            f"which are patterns to TensorFlow. Received: {root!r}"
        )
    folder = Path(path)
    is_free = not folder.exists() or (folder / CARD).is_file()
    if not is_free and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(
            f"{folder} exists and holds no exported server. Choose another "
            "folder."
        )
    card = ServerCard(
        base=backbone.preset,
        fingerprint=backbone.fingerprint(),
        d_model=backbone.config.d_model,
        vocab_size=backbone.config.vocab_size,
        input_length=input_length,
        max_length=max_length,
        prompt_root=root,
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(folder)
    try:
        _save(partial, backbone, card)
        replace_folder(partial, folder)
    except tf.errors.OpError as error:
        reason = str(error).split("; ")[-1]
        raise OSError(
            f"The server cannot be written to {folder}: {reason}."
        ) from error
    finally:
        remove(partial)
    return folder_bytes(folder)


def read_server_card(path: str | Path) -> ServerCard:
    """The card of an exported server.

    Raises:
        FileNotFoundError: the folder holds no exported server.
        ValueError: its card is damaged, or of another format.
    """
    file = Path(path) / CARD
    if not file.is_file():
        raise FileNotFoundError(f"{path} is no exported server: no {CARD}.")
    try:
        card = ServerCard(**json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file} is no server's card: {error}.") from error
    if card.format_version != FORMAT_VERSION:
        raise ValueError(
            f"{file} has format_version {card.format_version}; this version "
            f"of keras_prompt reads {FORMAT_VERSION}."
        )
    return card


def _save(folder: Path, backbone: MeshT5Backbone, card: ServerCard) -> None:
    folder.mkdir()
    root_file = folder / _ROOT_FILE
    root_file.write_text(card.prompt_root + "\n")
    server = _Server(backbone, card, root_file)
    tf.saved_model.save(
        server,
        str(folder),
        signatures=_signatures(server, card),
        options=tf.saved_model.SaveOptions(save_debug_info=False),
    )
    root_file.unlink()  # saved among the assets
    (folder / CARD).parent.mkdir()
    text = json.dumps(dataclasses.asdict(card), indent=2) + "\n"
    (folder / CARD).write_text(text)


def _signatures(server: _Server, card: ServerCard) -> dict[str, Any]:
    answers = server.answers

    def with_prompt(
        token_ids: Tensor,
        token_lengths: Tensor,
        prompt: Tensor,
        prompt_lengths: Tensor,
    ) -> dict[str, Tensor]:
        prompts = _sent_prompts(prompt, prompt_lengths, card.d_model)
        return answers.generate(prompts, token_ids, token_lengths)

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
    }


def _sent_prompts(
    prompt: Tensor, prompt_lengths: Tensor, d_model: int
) -> RowPrompts:
    """Prompts that came with the request."""
    prompt = tf.ensure_shape(prompt, [None, None, d_model])
    prompt_lengths = tf.ensure_shape(prompt_lengths, [None])
    longest = tf.shape(prompt)[1]
    lengths = tf.clip_by_value(prompt_lengths, 0, longest)
    is_finite = tf.reduce_all(tf.math.is_finite(prompt), axis=[1, 2])
    status = _first_problem(
        tf.fill(tf.shape(prompt_lengths), OK),
        (prompt_lengths < 1, "empty prompt"),
        (prompt_lengths > longest, "prompt_lengths exceeds the row's vectors"),
        (~is_finite, "the prompt has numbers that are not finite"),
    )
    prompt = tf.where(is_finite[:, None, None], prompt, 0.0)
    return RowPrompts(prompt, lengths, status)


def _first_problem(status: Tensor, *checks: tuple[Tensor, str]) -> Tensor:
    """A status (B,) that is ok gets the words of the first check it fails."""
    for is_wrong, words in checks:
        status = tf.where(is_wrong & (status == OK), words, status)
    return status
