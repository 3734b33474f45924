"""Writes a Hugging Face folder, which `transformers` and this package read."""

import json
import math
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_prompt.atomic_files import check_replaceable, new_folder
from keras_prompt.models.checkpoints.checkpoint import (
    STORED_DTYPES,
    stored_dtype,
    weight_groups,
    weight_shape,
)
from keras_prompt.models.checkpoints.hugging_face_config import (
    CONFIG,
    config_values,
)
from keras_prompt.models.checkpoints.hugging_face_names import (
    key_of,
    stored_shape,
    to_stored,
)
from keras_prompt.models.checkpoints.safetensors_files import INDEX, WEIGHTS
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.variables import parameter_count
from keras_prompt.types import FloatArray

VOCABULARY = "spiece.model"
SHARD_BYTES = 5 * 10**9  # where `transformers` begins a new file
_CODES = {STORED_DTYPES["float32"]: "F32", STORED_DTYPES["bfloat16"]: "BF16"}


def write(
    folder: Path,
    config: T5Config,
    weights: Callable[[str], FloatArray],
    model_proto: bytes,
    dtype: str = "float32",
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes a folder; no more than one weight is in memory at a time.

    Args:
        folder: replaced, all of it, when the new one is complete.
        config: the T5's sizes.
        weights: gives a weight by its Mesh-TF name.
        model_proto: the SentencePiece model.
        dtype: "float32" or "bfloat16", which halves the files.
        shard_bytes: the most bytes of weights in one file; more make several
            and an index.

    Raises:
        ValueError: `dtype` is neither.
        OSError: it cannot be written; the old folder, if any, is unharmed.
    """
    numpy_dtype = stored_dtype(dtype)
    with new_folder(folder) as partial:
        _write_weights(partial, config, weights, numpy_dtype, shard_bytes)
        (partial / VOCABULARY).write_bytes(model_proto)
        text = json.dumps(config_values(config, dtype), indent=2)
        (partial / CONFIG).write_text(text + "\n")


def check_place(folder: Path, *others: str) -> None:
    """Refuses a place where a model may not be written.

    Args:
        folder: for `write`.
        others: files that the caller adds to a model.

    Raises:
        ValueError: the folder holds something else than a model.
    """
    names = [re.escape(name) for name in (CONFIG, INDEX, VOCABULARY, *others)]
    names.append(r"model(-\d{5}-of-\d{5})?\.safetensors")
    check_replaceable(folder, "model", CONFIG, "|".join(names))


def _write_weights(
    folder: Path,
    config: T5Config,
    weights: Callable[[str], FloatArray],
    dtype: np.dtype,
    shard_bytes: int,
) -> None:
    shards = list(weight_groups(config, dtype.itemsize, shard_bytes))
    index: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = WEIGHTS
        if len(shards) > 1:
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        index |= {key_of(name): file for name in names}
        _write_file(folder / file, config, names, weights, dtype)
    if len(shards) > 1:
        total = dtype.itemsize * parameter_count(config)
        values = {"metadata": {"total_size": total}, "weight_map": index}
        text = json.dumps(values, indent=2, sort_keys=True)
        (folder / INDEX).write_text(text + "\n")


def _write_file(
    path: Path,
    config: T5Config,
    names: Sequence[str],
    weights: Callable[[str], FloatArray],
    dtype: np.dtype,
) -> None:
    """A header of places, padded to 8 bytes, and the tensors one by one.

    Format: huggingface.co/docs/safetensors. The library's own writer wants
    every tensor at once.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        shape = weight_shape(config, name)
        start, end = end, end + dtype.itemsize * math.prod(shape)
        header[key_of(name)] = {
            "dtype": _CODES[dtype],
            "shape": stored_shape(name, shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            value = to_stored(name, weights(name))
            flat = np.ascontiguousarray(value, dtype).reshape(-1)
            file.write(flat.view(np.uint8).data)
