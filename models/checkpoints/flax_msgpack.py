"""Flax's msgpack files: a tree of names, its arrays as extension type 1.

An array is a msgpack triple (shape, dtype's name, bytes); one of over 2**30
bytes is a map with `__msgpack_chunked_array__` and its flat pieces. Format:
`flax.serialization`.
"""

import math
from pathlib import Path
from typing import Any

import ml_dtypes
import msgpack
import numpy as np

from keras_prompt.types import FloatArray

_ARRAY, _SCALAR = 1, 3
_CHUNKED = "__msgpack_chunked_array__"
_DTYPES = {
    name: np.dtype(name)
    for name in ("float32", "float16", "float64", "int32", "int64", "uint32")
} | {"bfloat16": np.dtype(ml_dtypes.bfloat16)}


def is_msgpack_map(path: Path) -> bool:
    """Whether the file's first byte begins a msgpack map."""
    with path.open("rb") as file:
        first = file.read(1)
    return bool(first) and (
        0x80 <= first[0] <= 0x8F or first[0] in (0xDE, 0xDF)
    )


def read_tree(path: Path) -> dict[str, Any]:
    """Nested dictionaries; leaves are arrays or msgpack's plain values.

    Raises:
        ValueError: the file is truncated, has bytes left over, or holds an
            extension type or dtype that is no array's.
    """
    try:
        tree = msgpack.unpackb(
            path.read_bytes(), ext_hook=_from_extension, strict_map_key=True
        )
        if not isinstance(tree, dict):
            raise ValueError("its root is no map")
        return {key: _joined(value) for key, value in tree.items()}
    except (
        ValueError,
        TypeError,
        KeyError,
        RecursionError,
        msgpack.UnpackException,
    ) as error:
        raise ValueError(
            f"{path} is not a complete flax msgpack file "
            f"({type(error).__name__}: {error}). Copy or download it again."
        ) from error


def _from_extension(code: int, data: bytes) -> FloatArray:
    if code not in (_ARRAY, _SCALAR):
        raise ValueError(f"extension type {code} is no array")
    shape, name, values = msgpack.unpackb(data)
    if name not in _DTYPES:
        raise ValueError(f"an array has dtype {name!r}")
    return np.frombuffer(values, _DTYPES[name]).reshape(shape)


def _joined(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if _CHUNKED not in value:
        return {key: _joined(child) for key, child in value.items()}
    shape, pieces = _sequence(value["shape"]), _sequence(value["chunks"])
    flat = np.concatenate(pieces)
    if flat.size != math.prod(shape):
        raise ValueError(f"{flat.size} numbers in chunks of an array {shape}")
    return flat.reshape(shape)


def _sequence(value: dict[str, Any]) -> list[Any]:
    """A tuple, which flax writes as a map from "0", "1" and so on."""
    return [value[str(index)] for index in range(len(value))]
