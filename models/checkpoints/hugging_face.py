"""Hugging Face's T5 folders: T5 1.0 and 1.1, LM-adapted, Flan-T5, mT5.

A folder holds config.json, model.safetensors or several with an index, and
spiece.model or tokenizer.json. This is also the format of the presets that
ship. `pytorch_model.bin` is a pickle, which can run code, and is refused.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_prompt.models.checkpoints.checkpoint import (
    T5_VOCABULARY,
    Checkpoint,
    check_layers,
)
from keras_prompt.models.checkpoints.hugging_face_config import (
    CONFIG,
    read_config,
    read_output_layer,
    read_values,
)
from keras_prompt.models.checkpoints.hugging_face_names import (
    HEAD,
    NEVER_USED,
    TABLE,
    TABLE_COPY,
    is_transposed,
    key_of,
    stored_shape,
)
from keras_prompt.models.checkpoints.hugging_face_writer import (
    SHARD_BYTES,
    VOCABULARY,
    check_place,
    write,
)
from keras_prompt.models.checkpoints.safetensors_files import (
    INDEX,
    WEIGHTS,
    StoredTensor,
    open_tensors,
)
from keras_prompt.models.checkpoints.unigram_json import sentencepiece_model
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.variables import weight_table
from keras_prompt.types import FloatArray

TOKENIZER = "tokenizer.json"
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")

__all__ = [
    "SHARD_BYTES",
    "VOCABULARY",
    "check_place",
    "read",
    "recognizes",
    "write",
]


def recognizes(path: Path) -> bool:
    """Whether the folder holds weights or a configuration of this format."""
    if any((path / name).is_file() for name in (WEIGHTS, INDEX, *_PICKLES)):
        return True
    return (path / CONFIG).is_file() and "model_type" in read_values(path)


def read(path: Path) -> Checkpoint:
    """Opens a folder; each weight is read when it is asked for.

    Raises:
        FileNotFoundError: a file is absent.
        ValueError: the configuration is no T5's, a weight is missing, unknown
            or of another shape, or a file is truncated or pickled.
    """
    _require_files(path)
    values = read_values(path)
    config = read_config(path / CONFIG, values)
    tensors = _with_table(open_tensors(path))
    check_layers(path, config, len(tensors))
    keys = _keys(path, config, tensors, read_output_layer(values).is_tied)
    _check(path, config, keys, tensors)
    table = weight_table(config)

    def weights(name: str) -> FloatArray:
        value = tensors[keys[name]].read(is_transposed(name))
        return value.reshape([size for _, size in table[name]])

    return Checkpoint(
        config,
        weights,
        _vocabulary(path),
        tensors[TABLE].dtype,
        tuple(sorted({tensor.file for tensor in tensors.values()})),
    )


def _require_files(path: Path) -> None:
    has_weights = any((path / name).is_file() for name in (WEIGHTS, INDEX))
    if not has_weights and any((path / name).is_file() for name in _PICKLES):
        raise ValueError(
            f"{path} holds pickled weights, {_PICKLES[0]}, which can run code "
            f"when they are read. Convert them once, in an environment of its "
            'own with torch and transformers: python -c "from transformers '
            "import AutoModelForSeq2SeqLM as M; "
            f"M.from_pretrained('{path}').save_pretrained('{path}')\""
        )
    for name, is_there in (
        (CONFIG, (path / CONFIG).is_file()),
        (WEIGHTS, has_weights),
    ):
        if not is_there:
            raise FileNotFoundError(
                f"{path} has no {name}; a Hugging Face folder holds {CONFIG}, "
                f"{WEIGHTS} (or shards and {INDEX}) and {VOCABULARY} (or "
                f"{TOKENIZER})."
            )


def _vocabulary(path: Path) -> bytes:
    if (path / VOCABULARY).is_file():
        return (path / VOCABULARY).read_bytes()
    if (path / TOKENIZER).is_file():
        return sentencepiece_model(path / TOKENIZER)
    raise FileNotFoundError(
        f"{path} has neither {VOCABULARY} nor {TOKENIZER}. Copy the "
        "SentencePiece file the model was trained with to "
        f"{path / VOCABULARY}; T5's is published at {T5_VOCABULARY}."
    )


def _with_table(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The table under its own name, where only a copy's name is stored."""
    found = dict(tensors)
    copies = sorted(filter(TABLE_COPY.fullmatch, found))
    if TABLE not in found and copies:
        found[TABLE] = found.pop(copies[0])
    return found


def _keys(
    path: Path,
    config: T5Config,
    tensors: Mapping[str, StoredTensor],
    may_be_tied: bool,
) -> dict[str, str]:
    """Where each weight of ours lies.

    A T5 whose output layer is the table but is not scaled, which version 5 of
    `transformers` makes of a fresh T5 1.1, is ours untied with two copies.
    """
    keys = {name: key_of(name) for name in weight_table(config)}
    if not config.is_tied and may_be_tied and HEAD not in tensors:
        keys["decoder/logits/kernel"] = TABLE
    for key in keys.values():
        if key not in tensors:
            raise ValueError(
                f"{path} has no weight '{key}', which {CONFIG} asks for "
                f"({config.num_encoder_layers} encoder and "
                f"{config.num_decoder_layers} decoder layers). "
                "Do both files belong to the same model?"
            )
    return keys


def _check(
    path: Path,
    config: T5Config,
    keys: Mapping[str, str],
    tensors: Mapping[str, StoredTensor],
) -> None:
    for name, dimensions in weight_table(config).items():
        tensor = tensors[keys[name]]
        wanted = stored_shape(name, tuple(size for _, size in dimensions))
        if tensor.shape != wanted:
            raise ValueError(
                f"{path}: '{tensor.key}' has shape {tensor.shape}, but "
                f"{CONFIG} asks for {wanted}. Do both files belong to the "
                "same model?"
            )
    known = set(keys.values())
    for key, tensor in tensors.items():
        if key in known or NEVER_USED.fullmatch(key):
            continue
        if TABLE_COPY.fullmatch(key) or (key == HEAD and config.is_tied):
            _check_copy(path, tensors[TABLE], tensor)
        else:
            raise ValueError(f"{path} has a weight of no T5: '{key}'.")


def _check_copy(path: Path, table: StoredTensor, copy: StoredTensor) -> None:
    if table.shape != copy.shape or not np.array_equal(
        table.read(), copy.read()
    ):
        raise ValueError(
            f"{path}: '{copy.key}' must be a copy of '{table.key}', as "
            f"{CONFIG} ties them, and is not."
        )
