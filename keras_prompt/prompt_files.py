"""One prompt as one folder: a SavedModel of a (P, D) variable, and its card.

The folder is read by anything that reads SavedModels; reading it here takes
the variable from its checkpoint and runs nothing of the file.
"""

import dataclasses
import hashlib
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_prompt.atomic_files import check_replaceable, new_folder
from keras_prompt.strict_json import strict_json
from keras_prompt.types import FloatArray, Tensor

FORMAT_VERSION = 1
CARD = "prompt.json"
# SavedModel's checkpoint key of `module.prompt`; a server reads it by name.
CHECKPOINT = "variables/variables"
KEY = "prompt/.ATTRIBUTES/VARIABLE_VALUE"
INDEX = f"{CHECKPOINT}.index"
DATA = f"{CHECKPOINT}.data-00000-of-00001"
_NEEDED = ("saved_model.pb", INDEX, DATA)
_UNNEEDED = "fingerprint.pb"  # of the graph, which TensorFlow adds
_NAMES = r"prompt\.json|saved_model\.pb|fingerprint\.pb|variables|assets"


@dataclasses.dataclass(frozen=True)
class PromptCard:
    """What is known of a prompt.

    Attributes:
        base: preset of the model it was tuned on.
        fingerprint: of that model's weights.
        prompt_length: P.
        d_model: D.
        task: the task's name.
        label_words: the task's legal outputs, if it has such.
        steps: optimizer steps behind it.
        seed: of the initial prompt and the data's order.
        score: on the evaluation split, which also chose the prompt.
        metrics: of which the score is one, or the mean.
        versions: of the libraries that wrote it.
        files: SHA-256 of each of the folder's other files, which tells a
            damaged copy; `write_prompt` fills it in.
        format_version: of this folder.
    """

    base: str
    fingerprint: str
    prompt_length: int
    d_model: int
    task: str | None = None
    label_words: tuple[str, ...] = ()
    steps: int | None = None
    seed: int | None = None
    score: float | None = None
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def describe_base(self) -> str:
        """The base and the beginning of its fingerprint, for a message."""
        return f"{self.base} (fingerprint {self.fingerprint[:8]}…)"

    def refuse_other_base(
        self, prompt: str | Path, fingerprint: str, model: str
    ) -> None:
        """Refuses a model that the prompt was not tuned on.

        Args:
            prompt: what to call it.
            fingerprint: of the model's weights.
            model: which one it is, as "this model is t5_1_1_nano_lm".

        Raises:
            ValueError: it is another one.
        """
        if self.fingerprint != fingerprint:
            raise ValueError(
                f"Prompt '{prompt}' was tuned on {self.describe_base()}; "
                f"{model} ({fingerprint[:8]}…)."
            )


class PromptFile(NamedTuple):
    """A prompt folder's content: float32 (P, D), and the card."""

    prompt: FloatArray
    card: PromptCard


class _PromptModule(tf.Module):
    """What is saved. The attribute's name is the checkpoint's key."""

    def __init__(self, prompt: FloatArray) -> None:
        super().__init__()
        self.prompt = tf.Variable(prompt, trainable=False, name="prompt")

    @tf.function(input_signature=[], autograph=False)
    def whole(self) -> dict[str, Tensor]:
        return {"prompt": tf.identity(self.prompt)}

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.int32, name="rows")],
        autograph=False,
    )
    def some_rows(self, rows: Tensor) -> dict[str, Tensor]:
        # A bad row must not fail the rest of a server's batch.
        last = self.prompt.shape[0] - 1
        is_valid = (rows >= 0) & (rows <= last)
        vectors = tf.gather(self.prompt, tf.clip_by_value(rows, 0, last))
        zeros = tf.zeros_like(vectors)
        return {
            "vectors": tf.where(is_valid[:, None], vectors, zeros),
            "is_valid": is_valid,
        }


def write_prompt(
    folder: str | Path, prompt: FloatArray, card: PromptCard
) -> int:
    """Writes a prompt folder under a temporary name, then renames it.

    Args:
        folder: replaced if it is empty or holds nothing but a prompt.
        prompt: float32 (P, D).
        card: what is known of it.

    Returns:
        Bytes of all its files.

    Raises:
        ValueError: the folder holds something else, or the prompt is not
            finite or not of the card's shape.
        OSError: the place cannot be written; nothing is left behind.
    """
    folder = Path(folder)
    if prompt.shape != (card.prompt_length, card.d_model):
        raise ValueError(
            f"The prompt has shape {prompt.shape}, its card says "
            f"({card.prompt_length}, {card.d_model})."
        )
    if not np.isfinite(prompt).all():
        raise ValueError("The prompt holds numbers that are not finite.")
    check_place(folder)
    try:
        with new_folder(folder) as partial:
            _save(partial, prompt, card)
    except (OSError, tf.errors.OpError) as error:
        # TensorFlow's errors name an operation, a temporary file, the reason.
        reason = getattr(error, "strerror", None) or str(error).split("; ")[-1]
        raise OSError(
            f"The prompt cannot be written to {folder}: {reason}."
        ) from error
    return folder_bytes(folder)


def read_prompt(folder: str | Path) -> PromptFile:
    """Reads a prompt folder.

    Raises:
        FileNotFoundError: nothing is there, or files are missing.
        ValueError: a file is truncated, of another format, or its parts do
            not fit together; or the path is a file.
    """
    folder = Path(folder)
    if folder.is_file():
        raise ValueError(
            f"{folder} is a file, not a prompt's folder; `keras-prompt export` "
            "makes one of another tool's prompt."
        )
    if not folder.is_dir():
        raise FileNotFoundError(f"No prompt folder at {folder}.")
    for name in (CARD, *_NEEDED):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} is no exported prompt: it has no {name}."
            )
    card = _read_card(folder / CARD)
    _check_files(folder, card)
    try:
        reader = tf.train.load_checkpoint(str(folder / CHECKPOINT))
        prompt = reader.get_tensor(KEY)
    except (tf.errors.OpError, LookupError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"The variables of {folder} cannot be read ({reason}). "
            "Export or copy the prompt again."
        ) from error
    if prompt.dtype != np.float32 or prompt.shape != (
        card.prompt_length,
        card.d_model,
    ):
        raise ValueError(
            f"{folder} holds {prompt.dtype} {prompt.shape}, its card says "
            f"float32 ({card.prompt_length}, {card.d_model})."
        )
    if not np.isfinite(prompt).all():
        raise ValueError(f"{folder} holds numbers that are not finite.")
    return PromptFile(prompt, card)


def folder_bytes(folder: str | Path) -> int:
    """Bytes of all files below a folder."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files)


def check_place(folder: Path) -> None:
    """Refuses a place where a prompt may not be written.

    Raises:
        ValueError: the folder holds something else.
    """
    check_replaceable(folder, "prompt", CARD, _NAMES)


def _save(folder: Path, prompt: FloatArray, card: PromptCard) -> None:
    module = _PromptModule(prompt.astype(np.float32))
    tf.saved_model.save(
        module,
        str(folder),
        signatures={
            "serving_default": module.whole,
            "rows": module.some_rows,
        },
        options=tf.saved_model.SaveOptions(save_debug_info=False),
    )
    files = (path for path in folder.rglob("*") if path.is_file())
    digests = {str(p.relative_to(folder)): _digest(p) for p in sorted(files)}
    # A metric may be no number, as a correlation with a constant.
    finite = {n: v for n, v in card.metrics.items() if math.isfinite(v)}
    card = dataclasses.replace(card, metrics=finite, files=digests)
    text = strict_json(dataclasses.asdict(card), indent=2) + "\n"
    (folder / CARD).write_text(text)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_files(folder: Path, card: PromptCard) -> None:
    for name in (*_NEEDED, _UNNEEDED):
        path = folder / name
        if path.is_file() and card.files.get(name) != _digest(path):
            raise ValueError(
                f"{path} is truncated or was changed after the "
                "export. Export or copy the prompt again."
            )


def _read_card(path: Path) -> PromptCard:
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        version = values.get("format_version")
        if version != FORMAT_VERSION:
            raise ValueError(
                f"it has format_version {version!r}, this version of "
                f"keras_prompt reads {FORMAT_VERSION}"
            )
        words = values.get("label_words", [])
        if not (isinstance(words, list) and all(map(_is_text, words))):
            raise TypeError(f"label_words is {words!r}")
        values["label_words"] = tuple(words)
        card = PromptCard(**values)
        _check_types(card)
        return card
    except (
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise ValueError(f"{path} is no prompt's card: {error}.") from error


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _check_types(card: PromptCard) -> None:
    """Refuses a card whose values, read by others later, are no such."""
    for field, kind in (
        ("base", str),
        ("fingerprint", str),
        ("prompt_length", int),
        ("d_model", int),
        ("files", dict),
        ("task", str | None),
        ("steps", int | None),
        ("seed", int | None),
        ("score", float | int | None),
        ("metrics", dict),
        ("versions", dict),
    ):
        value = getattr(card, field)
        if not isinstance(value, kind):
            raise TypeError(f"{field} is {value!r}")
    for metric, value in card.metrics.items():
        if not isinstance(value, float | int):
            raise TypeError(f"metrics has {metric} {value!r}")
