"""What a checkpoint gives, whatever its format, and what it must keep to."""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.variables import weight_table
from keras_prompt.types import FloatArray

T5_VOCABULARY = "gs://t5-data/vocabs/cc_all.32000/sentencepiece.model"
MT5_VOCABULARY = "gs://t5-data/vocabs/mc4.250000.100extra/sentencepiece.model"

_VOCABULARIES = ("spiece.model", "sentencepiece.model")
# What both writers can store.
STORED_DTYPES = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
_CHECKED_AT_ONCE = 1 << 22  # numbers; what the check allocates is a byte each


class Checkpoint(NamedTuple):
    """An opened checkpoint; its weights are still on disk.

    Attributes:
        config: the T5's sizes.
        weights: reads one weight by its Mesh-TF name, with the shape of the
            weight table: bfloat16 where it is stored so, else float32.
        vocabulary: a serialized SentencePiece model.
        dtype: of the stored embedding table.
        files: what the weights are read from.
    """

    config: T5Config
    weights: Callable[[str], FloatArray]
    vocabulary: bytes
    dtype: str
    files: tuple[Path, ...]

    @property
    def bytes_on_disk(self) -> int:
        """The size of `files`."""
        return sum(path.stat().st_size for path in self.files)


def count_layers(names: Iterable[str], start: str) -> int:
    """How many layers there are, of names that begin so and with a number.

    >>> count_layers(["a/block_000/x", "a/block_000/y", "a/z"], "a/block_")
    1
    """
    matches = (re.match(rf"{re.escape(start)}(\d+)/", name) for name in names)
    return len({match[1] for match in matches if match})


def checked_weights(
    path: Path, checkpoint: Checkpoint
) -> Callable[[str], FloatArray]:
    """The checkpoint's `weights`, each looked through as it is read.

    Args:
        path: named in errors.
        checkpoint: an opened one.

    Returns:
        A reader that raises ValueError where a weight has another shape than
        its configuration says, or a number that is not finite.
    """

    def weights(name: str) -> FloatArray:
        value = checkpoint.weights(name)
        shape = weight_shape(checkpoint.config, name)
        if value.shape != shape:
            raise ValueError(
                f"{path}: the weight '{name}' must have shape {shape}. "
                f"Received: {value.shape}"
            )
        flat = value.reshape(-1)
        for start in range(0, flat.size, _CHECKED_AT_ONCE):
            if not np.isfinite(flat[start : start + _CHECKED_AT_ONCE]).all():
                raise ValueError(
                    f"{path}: the weight '{name}' holds NaN or infinity. The "
                    "checkpoint is damaged, or its training diverged; take "
                    "another one."
                )
        return value

    return weights


def find_vocabulary(path: Path, *folders: Path) -> Path:
    """The SentencePiece file of a checkpoint that does not hold its own.

    Args:
        path: the checkpoint, named in errors.
        folders: where to look, the nearest first. In each `spiece.model` and
            `sentencepiece.model` go before any other `*.model`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: one folder has several, and none of those names.
    """
    for folder in folders:
        for name in _VOCABULARIES:
            if (folder / name).is_file():
                return folder / name
        others = sorted(folder.glob("*.model"))
        if len(others) > 1:
            raise ValueError(
                f"{folder} must have one vocabulary; rename the right one to "
                f"{_VOCABULARIES[0]}. "
                f"Received: {[other.name for other in others]}"
            )
        if others:
            return others[0]
    raise FileNotFoundError(
        f"{path} has no vocabulary beside it. Copy the SentencePiece file it "
        f"was trained with to {folders[0] / _VOCABULARIES[0]}; T5's is "
        f"published at {T5_VOCABULARY}, mT5's at {MT5_VOCABULARY}."
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        ValueError: it is damaged, or holds something else.
    """
    try:
        values = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold a JSON object.")
    return values


def stored_dtype(dtype: str) -> np.dtype:
    """The type that a writer was asked for.

    Raises:
        ValueError: no writer has it.
    """
    if dtype not in STORED_DTYPES:
        raise ValueError(
            f"`dtype` must be one of {', '.join(STORED_DTYPES)}. "
            f"Received: dtype={dtype!r}"
        )
    return STORED_DTYPES[dtype]


def check_layers(path: Path, config: T5Config, stored: int) -> None:
    """Refuses more layers than there are weights, before a table is made.

    Args:
        path: of the checkpoint.
        config: what its configuration says.
        stored: how many weights it has.

    Raises:
        ValueError: there cannot be so many layers.
    """
    layers = config.num_encoder_layers + config.num_decoder_layers
    if layers > stored:
        raise ValueError(
            f"{path} has {stored} weights, but its configuration asks for "
            f"{layers} layers. Do both files belong to the same model?"
        )


def weight_shape(config: T5Config, name: str) -> tuple[int, ...]:
    """The shape of a weight of the table."""
    return tuple(size for _, size in weight_table(config)[name])


def fused_shape(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    """With heads and head width in one axis, as most formats have them."""
    if len(shape) < 3:
        return tuple(shape)
    if name.endswith("/o"):  # (heads, d_kv, d_model)
        return shape[0] * shape[1], shape[2]
    return shape[0], shape[1] * shape[2]


def weight_groups(
    config: T5Config, itemsize: int, group_bytes: int
) -> Iterator[list[str]]:
    """The weights' names in order, as many a group as fit, at least one."""
    names: list[str] = []
    size = 0
    for name in weight_table(config):
        adds = itemsize * math.prod(weight_shape(config, name))
        if names and size + adds > group_bytes:
            yield names
            names, size = [], 0
        names.append(name)
        size += adds
    yield names
