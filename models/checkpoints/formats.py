"""Finds out which format a checkpoint has, opens it, converts it."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType

from keras_prompt.models.checkpoints import (
    hugging_face,
    keras_hub,
    mesh_tensorflow,
    t5x,
)
from keras_prompt.models.checkpoints.checkpoint import (
    Checkpoint,
    checked_weights,
)
from keras_prompt.registry import lookup
from keras_prompt.tokenizer import Tokenizer

# Each module has `recognizes(path)` and `read(path)`.
FORMATS: Mapping[str, ModuleType] = MappingProxyType(
    {
        "hugging_face": hugging_face,
        "mesh_tensorflow": mesh_tensorflow,
        "t5x": t5x,
        "keras_hub": keras_hub,
    }
)
WRITERS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {
        "hugging_face": hugging_face.write,
        "mesh_tensorflow": mesh_tensorflow.write,
    }
)

# Tables are padded; T5's has 28 rows more than ids, mT5's 12.
_MOST_PADDING = 1024


def format_of(path: Path) -> str:
    """The name of the one format that a path has.

    Raises:
        FileNotFoundError: nothing is there, or no checkpoint is.
        ValueError: the folder holds checkpoints of several formats.
    """
    found = [
        name for name, module in FORMATS.items() if module.recognizes(path)
    ]
    if len(found) > 1:
        raise ValueError(
            f"{path} holds checkpoints of several formats, "
            f"{' and '.join(found)}. Move the one you want to a folder of its "
            "own."
        )
    if not found:
        raise FileNotFoundError(
            f"No checkpoint at {path}. What is read: Hugging Face's "
            "(config.json, model.safetensors, spiece.model), Mesh "
            "TensorFlow's (model.ckpt-STEP.index), T5X's (a folder with a "
            "file `checkpoint` and target.* folders, or a file "
            "checkpoint_STEP) and KerasHub's (config.json, model.weights.h5)."
        )
    return found[0]


def read(path: Path) -> Checkpoint:
    """Opens a checkpoint of any format; `weights` checks what it reads.

    Raises:
        FileNotFoundError: nothing is there, or a file of it is absent.
        ValueError: it is damaged or no T5, or its vocabulary has more ids
            than the embedding table has rows.

    Warns:
        UserWarning: the vocabulary has so few ids that it may be another
            model's.
    """
    checkpoint = FORMATS[format_of(path)].read(path)
    try:
        ids = Tokenizer(checkpoint.vocabulary).vocabulary_size
    except ValueError as error:
        raise ValueError(f"The vocabulary of {path}: {error}") from error
    if ids > checkpoint.config.vocab_size:
        raise ValueError(
            f"The vocabulary of {path} has {ids:,} ids, sentinels included, "
            f"and its embedding table {checkpoint.config.vocab_size:,} rows. "
            "Put the model's own vocabulary in its place."
        )
    if ids + _MOST_PADDING < checkpoint.config.vocab_size:
        warnings.warn(
            f"The vocabulary of {path} has {ids:,} ids, sentinels included, "
            f"and its embedding table {checkpoint.config.vocab_size:,} rows: "
            "it may be another model's. T5 is published with 32,100 ids and "
            "32,128 rows, mT5 with 250,100 and 250,112.",
            stacklevel=2,
        )
    return checkpoint._replace(weights=checked_weights(path, checkpoint))


def convert(
    source: Path, destination: Path, format: str, dtype: str = "float32"
) -> None:
    """Writes a checkpoint anew in another format, a few weights at a time.

    Args:
        source: a checkpoint of any format.
        destination: a folder, absent or empty.
        format: "hugging_face" or "mesh_tensorflow".
        dtype: to store, "float32" or "bfloat16".

    Raises:
        FileNotFoundError: there is no checkpoint at `source`.
        ValueError: no such format, something is at `destination`, or the
            source cannot be read.
        OSError: the destination cannot be written; nothing is left of it.
    """
    write = lookup("format", format, WRITERS)
    if destination.resolve() == Path.cwd():
        raise ValueError(
            "`destination` must not be the current folder, which cannot be "
            f"replaced. Received: {destination}"
        )
    if destination.exists() and (
        not destination.is_dir() or any(destination.iterdir())
    ):
        raise ValueError(
            "`destination` must be absent or an empty folder. "
            f"Received: {destination}"
        )
    checkpoint = read(source)
    write(
        destination,
        checkpoint.config,
        checkpoint.weights,
        checkpoint.vocabulary,
        dtype,
    )
