"""One array of a zarr folder, version 2, as tensorstore writes it for T5X.

A folder holds `.zarray`, a JSON description, and one file a chunk, `2.0` for
the third chunk down and the first across, each padded to the full chunk.
Format: the zarr storage specification, version 2.
"""

import gzip
import itertools
import json
import math
import zlib
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np

from keras_prompt.types import FloatArray

_DTYPES = {
    "<f4": np.dtype("<f4"),
    "<f2": np.dtype("<f2"),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


class ZarrArray(NamedTuple):
    """What `.zarray` says of an array.

    Attributes:
        folder: where the chunks lie.
        shape: of the whole array.
        chunks: shape of one chunk.
        dtype: of the stored numbers.
        is_compressed: whether a chunk is a gzip or zlib stream.
    """

    folder: Path
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype
    is_compressed: bool

    def read(self) -> FloatArray:
        """The whole array; bfloat16 stays so, all else becomes float32.

        Raises:
            ValueError: a chunk is absent, truncated or of another length.
        """
        value = np.empty(self.shape, kept_dtype(self.dtype))
        counts = [
            math.ceil(size / chunk)
            for size, chunk in zip(self.shape, self.chunks, strict=True)
        ]
        for index in itertools.product(*map(range, counts)):
            starts = [i * c for i, c in zip(index, self.chunks, strict=True)]
            place = tuple(
                slice(start, min(start + chunk, size))
                for start, chunk, size in zip(
                    starts, self.chunks, self.shape, strict=True
                )
            )
            inside = tuple(slice(0, at.stop - at.start) for at in place)
            value[place] = self._chunk(index)[inside]
        return value

    def _chunk(self, index: tuple[int, ...]) -> FloatArray:
        path = self.folder / (".".join(map(str, index)) or "0")
        try:
            data = path.read_bytes()
            if self.is_compressed:
                is_gzip = data[:2] == b"\x1f\x8b"
                data = (
                    gzip.decompress(data) if is_gzip else zlib.decompress(data)
                )
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(
                f"{path} is absent or not a complete chunk ({error}). "
                "Copy or download the checkpoint again."
            ) from error
        expected = math.prod(self.chunks) * self.dtype.itemsize
        if len(data) != expected:
            raise ValueError(
                f"{path} holds {len(data)} bytes; a chunk of {self.chunks} "
                f"{self.dtype} has {expected}. Copy or download it again."
            )
        return np.frombuffer(data, self.dtype).reshape(self.chunks)


def open_array(folder: Path) -> ZarrArray:
    """Reads the description; the chunks are read when asked for.

    Raises:
        ValueError: `.zarray` is absent, no JSON, or asks for what T5X never
            writes (another format version, order, filter or compressor).
    """
    path = folder / ".zarray"
    try:
        values = json.loads(path.read_text())
        array = ZarrArray(
            folder,
            tuple(values["shape"]),
            tuple(values["chunks"]),
            _DTYPES[values["dtype"]],
            values["compressor"] is not None,
        )
        compressor = (values["compressor"] or {}).get("id")
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise ValueError(
            f"{path} is no description of a float array in zarr's version 2 "
            f"({type(error).__name__}: {error})."
        ) from error
    wanted = {
        "zarr_format": 2,
        "order": "C",
        "filters": None,
        "dimension_separator": ".",
    }
    for key, value in wanted.items():
        if values.get(key, value) != value:
            raise ValueError(
                f"{path} must have `{key}` {value!r}. Received: {values[key]!r}"
            )
    if compressor not in (None, "gzip", "zlib"):
        raise ValueError(
            f"{path} must have a `compressor` of gzip or zlib, or none. "
            f"Received: {compressor!r}"
        )
    sizes = (*array.shape, *array.chunks)
    is_whole = all(isinstance(size, int) and size > 0 for size in sizes)
    if not is_whole or len(array.shape) != len(array.chunks):
        raise ValueError(
            f"{path} has shape {array.shape} in chunks of {array.chunks}; "
            "both must be positive integers, as many of one as of the other."
        )
    return array


def kept_dtype(dtype: np.dtype) -> np.dtype:
    """What an array of that type is read as."""
    is_bfloat16 = dtype == ml_dtypes.bfloat16
    return dtype if is_bfloat16 else np.dtype(np.float32)
