"""Writes a checkpoint as Mesh TensorFlow's T5 does, names and layouts alike."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_prompt.atomic_files import new_folder
from keras_prompt.models.checkpoints import mesh_tensorflow_gin
from keras_prompt.models.checkpoints.checkpoint import (
    fused_shape,
    stored_dtype,
    weight_groups,
)
from keras_prompt.models.t5.config import T5Config
from keras_prompt.types import FloatArray

_STEP = "global_step"
_PART_BYTES = 1 << 30  # of weights in memory at a time


def write(
    folder: Path,
    config: T5Config,
    weights: Callable[[str], FloatArray],
    model_proto: bytes,
    dtype: str = "float32",
    step: int = 0,
    part_bytes: int = _PART_BYTES,
) -> None:
    """Writes a folder that `t5`, T5X's importer and this package read.

    Args:
        folder: replaced, all of it, when the new one is complete.
        config: the T5's sizes.
        weights: gives a weight by its Mesh-TF name.
        model_proto: the SentencePiece model, which becomes spiece.model.
        dtype: "float32", as T5 published, or "bfloat16".
        step: of the file's name and of `global_step`.
        part_bytes: the most bytes of weights in memory and in one data file,
            but for a weight that is larger.

    Raises:
        ValueError: `dtype` is neither, or the format cannot say what the
            model is.
        OSError: it cannot be written; the old folder, if any, is unharmed.
    """
    numpy_dtype = stored_dtype(dtype)
    for field in ("max_distance", "layer_norm_epsilon"):
        value, default = getattr(config, field), getattr(T5Config, field)
        if value != default:
            raise ValueError(
                f"A model with {field} {value} has no Mesh TensorFlow "
                f"checkpoint: its T5 has {default}. Write another format."
            )
    try:
        with new_folder(folder) as partial:
            parts = []
            groups = weight_groups(config, numpy_dtype.itemsize, part_bytes)
            for number, names in enumerate(groups):
                tensors: dict[str, Any] = (
                    {} if number else {_STEP: np.int64(step)}
                )
                tensors |= {
                    name: _fused(name, weights(name), numpy_dtype)
                    for name in names
                }
                parts.append(str(partial / "parts" / f"{number:05d}"))
                _save(parts[-1], tensors)
            # Parts become the data files, by renaming; one index covers all.
            tf.raw_ops.MergeV2Checkpoints(
                checkpoint_prefixes=parts,
                destination_prefix=str(partial / f"model.ckpt-{step}"),
                delete_old_dirs=True,
            )
            (partial / "checkpoint").write_text(
                f'model_checkpoint_path: "model.ckpt-{step}"\n'
                f'all_model_checkpoint_paths: "model.ckpt-{step}"\n'
            )
            (partial / mesh_tensorflow_gin.CONFIG).write_text(
                mesh_tensorflow_gin.bindings_text(config)
            )
            (partial / "spiece.model").write_bytes(model_proto)
    except tf.errors.OpError as error:
        raise OSError(f"{folder} cannot be written: {error.message}") from error


def _save(prefix: str, tensors: Mapping[str, Any]) -> None:
    with tf.device("CPU"):
        tf.raw_ops.SaveV2(
            prefix=prefix,
            tensor_names=list(tensors),
            shape_and_slices=[""] * len(tensors),
            tensors=[tf.convert_to_tensor(value) for value in tensors.values()],
        )


def _fused(name: str, value: FloatArray, dtype: np.dtype) -> FloatArray:
    """As `combine_dims` has it."""
    return value.reshape(fused_shape(name, value.shape)).astype(
        dtype, copy=False
    )
