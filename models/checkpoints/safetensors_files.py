"""Tensors in one safetensors file, or in several with an index.

A shard's file ends where its header says; `safe_open` maps it and checks that.
Format: huggingface.co/docs/safetensors, and `model.safetensors.index.json` as
`transformers` writes it.
"""

from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import safetensors

from keras_prompt.models.checkpoints.checkpoint import read_json
from keras_prompt.types import FloatArray

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

_READ_AT_ONCE = 1 << 25  # bytes of a file that are mapped and copied together
_DTYPES = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float32),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}
_NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class StoredTensor(NamedTuple):
    """One tensor on disk.

    Attributes:
        file: of the folder, where it lies.
        key: its name there.
        shape: as stored.
        code: safetensors' name of its type.
    """

    file: Path
    key: str
    shape: tuple[int, ...]
    code: str

    @property
    def dtype(self) -> str:
        """As NumPy spells it."""
        return _NAMES[self.code]

    def read(self, is_transposed: bool = False) -> FloatArray:
        """The tensor; bfloat16 stays so, all else becomes float32.

        The file is opened anew for every few rows, so that no more of it is
        ever mapped: pages of a mapping count as the process's own.
        """
        shape = self.shape[::-1] if is_transposed else self.shape
        value = np.empty(shape, _DTYPES[self.code])
        rows_first = value.T if is_transposed else value
        row_bytes = 4 * int(np.prod(self.shape[1:], dtype=np.int64))
        step = max(1, _READ_AT_ONCE // row_bytes)
        for start in range(0, self.shape[0], step):
            stop = min(start + step, self.shape[0])
            with safetensors.safe_open(self.file, "numpy") as file:
                rows_first[start:stop] = file.get_slice(self.key)[start:stop]
        return value


def open_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of a folder, by its key.

    Raises:
        FileNotFoundError: the index names a shard that is absent.
        ValueError: a file is truncated or too long, a tensor holds something
            other than floats, two shards hold one key, or the index and the
            shards disagree.
    """
    if not (folder / INDEX).is_file():
        return _open(folder / WEIGHTS)
    if (folder / WEIGHTS).is_file():
        raise ValueError(
            f"{folder} has both {WEIGHTS} and {INDEX}; move the one that is "
            "not meant away."
        )
    index = read_json(folder / INDEX).get("weight_map")
    if not isinstance(index, dict) or not index:
        raise ValueError(f"{folder / INDEX} has no `weight_map`.")
    tensors: dict[str, StoredTensor] = {}
    for name in sorted(set(map(str, index.values()))):
        if Path(name).name != name:
            raise ValueError(
                f"{folder / INDEX} must name files of its own folder. "
                f"Received: {name!r}"
            )
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} has no {name}, a shard that {INDEX} names. "
                "Copy or download it again."
            )
        shard = _open(folder / name)
        for key in shard:
            if key in tensors:
                raise ValueError(
                    f"{folder}: '{key}' is both in {tensors[key].file.name} "
                    f"and in {name}."
                )
        tensors |= shard
    _agree(folder, index, tensors)
    return tensors


def _agree(
    folder: Path, index: dict[str, Any], tensors: dict[str, StoredTensor]
) -> None:
    for key, name in index.items():
        if key not in tensors or tensors[key].file.name != name:
            raise ValueError(
                f"{folder / INDEX} says that '{key}' lies in {name}, which "
                "does not hold it. Do all files belong to the same model?"
            )
    for key, tensor in tensors.items():
        if key not in index:
            raise ValueError(
                f"{tensor.file} holds '{key}', which {INDEX} does not name. "
                "Do all files belong to the same model?"
            )


def _open(path: Path) -> dict[str, StoredTensor]:
    try:
        with safetensors.safe_open(path, "numpy") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
            tensors = {
                key: StoredTensor(
                    path, key, tuple(part.get_shape()), part.get_dtype()
                )
                for key, part in slices.items()
            }
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is not a complete safetensors file ({error}). "
            "Copy or download it again."
        ) from error
    for key, tensor in tensors.items():
        if tensor.code not in _DTYPES:
            raise ValueError(
                f"{path}: '{key}' must hold {', '.join(_NAMES.values())}. "
                f"Received: {tensor.code}"
            )
    return tensors
