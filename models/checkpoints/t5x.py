"""T5X checkpoints: a folder of zarr arrays, or one older flax msgpack file.

`checkpoint_1100000/checkpoint` is a msgpack tree. Small arrays lie in it;
for a large one it names the zarr folder beside it, `target.` and the key with
dots. The older format is a file `checkpoint_1100000` with all arrays inside,
and is held in memory whole while it is read. Optimizer state is skipped.

T5X stores attention kernels with heads and head width in one axis. It stores
no configuration: the sizes are the arrays', a gated feed-forward layer is
T5 1.1's GELU and the greatest distance is T5's 128.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_prompt.models.checkpoints.checkpoint import (
    Checkpoint,
    find_vocabulary,
    fused_shape,
    weight_shape,
)
from keras_prompt.models.checkpoints.flax_msgpack import (
    is_msgpack_map,
    read_tree,
)
from keras_prompt.models.checkpoints.t5x_names import key_of, sizes
from keras_prompt.models.checkpoints.zarr_array import (
    ZarrArray,
    kept_dtype,
    open_array,
)
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.variables import weight_table
from keras_prompt.types import FloatArray

_TREE = "checkpoint"
_FILE = re.compile(r"(.+\.)?checkpoint_\d+")
_PROMPT = re.compile(r"encoder/(prompt/)+prompt")

Leaves = Mapping[str, FloatArray | ZarrArray]


def recognizes(folder: Path) -> bool:
    """Whether this is a T5X checkpoint, or a folder with an older one."""
    return any(is_msgpack_map(path) for path in _candidates(folder))


def read(folder: Path) -> Checkpoint:
    """Opens a checkpoint; a zarr array is read when it is asked for.

    The vocabulary is taken from the folder or from the one around it.

    Args:
        folder: a checkpoint's, an older one's file, or one around either.

    Raises:
        FileNotFoundError: no checkpoint, or no vocabulary.
        ValueError: a weight is missing, unknown or of another shape, a file
            is truncated, or the folder holds several checkpoints.
    """
    path = _find(folder)
    leaves = _leaves(path)
    config = sizes(path, {key: leaf.shape for key, leaf in leaves.items()})
    _check(path, config, leaves)
    around = [path.parent]
    if path.name == _TREE:
        around.append(path.parent.parent)

    def weights(name: str) -> FloatArray:
        value = _array(leaves[key_of(name)])
        return value.reshape(weight_shape(config, name))

    return Checkpoint(
        config,
        weights,
        find_vocabulary(path, *around).read_bytes(),
        leaves[key_of("shared/embedding")].dtype.name,
        _files(path, leaves),
    )


def read_prompt(folder: Path) -> FloatArray:
    """The prompt that a T5X checkpoint holds, float32 (P, D).

    Raises:
        FileNotFoundError: no checkpoint.
        ValueError: it has no prompt, or more than one, or one of another rank.
    """
    path = _find(folder)
    leaves = _leaves(path)
    keys = [key for key in leaves if _PROMPT.fullmatch(key)]
    if len(keys) != 1:
        raise ValueError(
            f"{path} must have one prompt, encoder/prompt/prompt/prompt. "
            f"Received: {keys}"
        )
    prompt = _array(leaves[keys[0]]).astype(np.float32)
    if prompt.ndim != 2:
        raise ValueError(
            f"{path}: '{keys[0]}' must be (prompt_length, d_model). "
            f"Received: {prompt.shape}"
        )
    return prompt


def _candidates(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        return []
    if (folder / _TREE).is_file():
        return [folder / _TREE]
    steps = [p for p in folder.iterdir() if _FILE.fullmatch(p.name)]
    files = (p / _TREE if p.is_dir() else p for p in steps)
    return sorted(path for path in files if path.is_file())


def _find(folder: Path) -> Path:
    paths = [path for path in _candidates(folder) if is_msgpack_map(path)]
    if not paths:
        raise FileNotFoundError(
            f"{folder} has no T5X checkpoint: a folder with a file "
            f"`{_TREE}`, or an older file `checkpoint_` and its step."
        )
    if len(paths) > 1:
        raise ValueError(
            f"{folder} must have one checkpoint; move the one you want to a "
            "folder of its own, or name its path. Received: "
            f"{[str(path.relative_to(folder)) for path in paths]}"
        )
    return paths[0]


def _files(path: Path, leaves: Leaves) -> tuple[Path, ...]:
    """The tree's file, and the chunks of the arrays that lie beside it."""
    folders = [v.folder for v in leaves.values() if isinstance(v, ZarrArray)]
    chunks = (chunk for folder in folders for chunk in folder.iterdir())
    return (path, *sorted(chunks))


def _leaves(path: Path) -> Leaves:
    """Every array of the model, by its key with slashes."""
    tree = read_tree(path)
    optimizer = tree.get("optimizer")
    if not isinstance(optimizer, dict) or "target" not in optimizer:
        raise ValueError(f"{path} has no `optimizer/target`, T5X's weights.")
    unknown = (tree.keys() - {"version", "optimizer"}) | (
        optimizer.keys() - {"target", "state"}
    )
    if unknown:
        raise ValueError(f"{path} has keys of no T5: {sorted(unknown)}.")
    leaves: dict[str, FloatArray | ZarrArray] = {}
    _collect(path, "", optimizer["target"], leaves)
    named = {f"target.{key.replace('/', '.')}" for key in leaves}
    for folder in path.parent.glob("target.*") if path.name == _TREE else ():
        if folder.name not in named:
            raise ValueError(f"{path} does not name its array {folder.name}.")
    return leaves


def _collect(
    path: Path, key: str, value: Any, leaves: dict[str, FloatArray | ZarrArray]
) -> None:
    if isinstance(value, np.ndarray):
        leaves[key] = value
    elif isinstance(value, dict) and "kvstore" in value:
        name = f"target.{key.replace('/', '.')}"
        store = value["kvstore"]
        place = store.get("path") if isinstance(store, dict) else store
        stored = str(place).rstrip("/").split("/")[-1]
        if value.get("driver") != "zarr" or stored != name:
            raise ValueError(
                f"{path}: '{key}' must lie in a zarr folder {name}. "
                f"Received: {value.get('driver')!r}, {stored!r}"
            )
        leaves[key] = open_array(path.parent / name)
    elif isinstance(value, dict):
        for name, child in value.items():
            _collect(path, f"{key}/{name}" if key else name, child, leaves)
    else:
        raise ValueError(f"{path}: '{key}' is no array but {value!r}.")


def _array(leaf: FloatArray | ZarrArray) -> FloatArray:
    if isinstance(leaf, ZarrArray):
        return leaf.read()
    return np.array(leaf, kept_dtype(leaf.dtype))


def _check(path: Path, config: T5Config, leaves: Leaves) -> None:
    expected = {key_of(name): name for name in weight_table(config)}
    for key, name in expected.items():
        if key not in leaves:
            raise ValueError(f"{path} has no weight '{key}'.")
        shape = fused_shape(name, weight_shape(config, name))
        if leaves[key].shape != shape:
            raise ValueError(
                f"{path}: '{key}' must have shape {shape}, as the other "
                f"weights say. Received: {leaves[key].shape}"
            )
        if leaves[key].dtype.kind in "iu":
            raise ValueError(f"{path}: '{key}' holds integers.")
    for key in leaves:
        if not (key in expected or _PROMPT.fullmatch(key)):
            raise ValueError(f"{path} has a weight of no T5: '{key}'.")
