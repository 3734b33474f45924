"""Mesh TensorFlow's T5 checkpoints, as `gs://t5-data/pretrained_models` has.

A folder holds `model.ckpt-1100000.index`, its `.data-*` files, the text file
`checkpoint`, which names the latest step, and `operative_config.gin`. Names
are `encoder/block_000/layer_000/SelfAttention/q` and so on. What was published
differs in two ways, and both are read:

* The norms are `layer_norm/scale` and `final_layer_norm/scale` in the first
  models, from `LayerStack`'s older constructor, and `rms_norm/scale` in later
  ones, from `sublayer_rms_norm`. Source: T5X's `checkpoint_importer.py`,
  which has a rule for either.
* Attention kernels have heads and head width in one axis, (d_model, heads *
  d_kv), as `combine_dims` makes them by default; without it they are apart.

Optimizer slots and `global_step` are skipped. A kernel for keys and values
together (`shared_kv`), talking heads (`t5.1.th`) and layers of two widths
(`t5.1.n4w10`) are other models and refused.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_prompt.models.checkpoints import mesh_tensorflow_gin
from keras_prompt.models.checkpoints.checkpoint import (
    Checkpoint,
    count_layers,
    find_vocabulary,
    fused_shape,
    weight_shape,
)
from keras_prompt.models.checkpoints.mesh_tensorflow_writer import write
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.variables import weight_table
from keras_prompt.types import FloatArray

_STATE = "checkpoint"
_STEP = re.compile(r"(model\.ckpt-(\d+))\.index")
_SLOT = re.compile(r"(.+)_slot_(?:v|vr|vc|m)")
_DTYPES = (tf.float32, tf.bfloat16)
# TensorFlow's reader turns its own errors into several of Python's.
_READ_ERRORS = (tf.errors.OpError, RuntimeError, ValueError, LookupError)

__all__ = ["read", "recognizes", "write"]

Shapes = Mapping[str, tuple[int, ...]]


def recognizes(path: Path) -> bool:
    """Whether this is a checkpoint's prefix, or a folder with such files."""
    return _has_index(path) or (path.is_dir() and bool(_steps(path)))


def read(path: Path) -> Checkpoint:
    """Opens a checkpoint; each weight is read when it is asked for.

    Args:
        path: a folder, of which the step that `checkpoint` names is taken or
            else the newest, or one step, as `folder/model.ckpt-1100000`.

    Raises:
        FileNotFoundError: there is no checkpoint, no vocabulary, or a data
            file is absent.
        ValueError: a weight is missing, unknown or of another shape, a file
            is damaged, or operative_config.gin describes another model.
    """
    prefix = path if _has_index(path) else _find(path)
    files = _files(prefix)
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = {
            name: tuple(shape)
            for name, shape in reader.get_variable_to_shape_map().items()
        }
        dtypes = reader.get_variable_to_dtype_map()
    except _READ_ERRORS as error:
        raise ValueError(
            f"{prefix}.index is no complete TensorFlow checkpoint "
            f"({_first_line(error)}). Copy or download it again."
        ) from error
    _check_length(prefix, files, shapes, dtypes)
    config = _config(prefix, shapes)
    names = _names(prefix, config, shapes)
    _check(prefix, config, names, shapes, dtypes)
    gin = prefix.parent / mesh_tensorflow_gin.CONFIG
    if gin.is_file():
        mesh_tensorflow_gin.check_bindings(gin, config)
    folder = prefix.parent

    def weights(name: str) -> FloatArray:
        try:
            value = reader.get_tensor(names[name])
        except _READ_ERRORS as error:
            raise ValueError(
                f"{prefix}: the weight '{names[name]}' cannot be read "
                f"({_first_line(error)}). Copy or download it again."
            ) from error
        return np.asarray(value).reshape(weight_shape(config, name))

    return Checkpoint(
        config,
        weights,
        find_vocabulary(prefix, folder, folder.parent).read_bytes(),
        dtypes[names["shared/embedding"]].name,
        files,
    )


def _has_index(path: Path) -> bool:
    return bool(path.name) and path.with_name(f"{path.name}.index").is_file()


def _steps(folder: Path) -> dict[int, Path]:
    matches = (_STEP.fullmatch(path.name) for path in folder.iterdir())
    return {int(m[2]): folder / m[1] for m in matches if m}


def _find(folder: Path) -> Path:
    steps = _steps(folder) if folder.is_dir() else {}
    if not steps:
        raise FileNotFoundError(
            f"{folder} has no Mesh TensorFlow checkpoint, no file "
            "model.ckpt-STEP.index."
        )
    state = folder / _STATE
    if state.is_file():
        text = state.read_text(errors="replace")
        named = re.search(r'^model_checkpoint_path:\s*"(.+)"', text, re.M)
        if named and folder / Path(named[1]).name in steps.values():
            return folder / Path(named[1]).name
    return steps[max(steps)]


def _files(prefix: Path) -> tuple[Path, ...]:
    """The index and every data file, whose names say how many there are."""
    data = sorted(prefix.parent.glob(f"{prefix.name}.data-?????-of-?????"))
    counts = {path.name[-5:] for path in data}
    if len(counts) > 1:
        raise ValueError(
            f"{prefix} has data files of {sorted(counts)} in all; keep those "
            "of one checkpoint."
        )
    wanted = int(counts.pop()) if counts else 1
    if len(data) != wanted:
        raise FileNotFoundError(
            f"{prefix} must have {wanted} data files "
            f"({prefix.name}.data-00000-of-{wanted:05d} and so on). "
            f"Received: {[path.name for path in data]}"
        )
    return (prefix.with_name(f"{prefix.name}.index"), *data)


def _check_length(
    prefix: Path,
    files: Sequence[Path],
    shapes: Shapes,
    dtypes: Mapping[str, Any],
) -> None:
    """The data files hold every tensor, slots included, end to end."""
    wanted = sum(
        math.prod(shape) * dtypes[name].size for name, shape in shapes.items()
    )
    found = sum(path.stat().st_size for path in files[1:])
    if found < wanted:
        raise ValueError(
            f"{prefix} has {found:,} bytes of data; its index asks for "
            f"{wanted:,}. Copy or download it again."
        )


def _config(prefix: Path, shapes: Shapes) -> T5Config:
    """The configuration that the arrays' shapes tell."""

    def shape(name: str, *ranks: int) -> tuple[int, ...]:
        if len(shapes.get(name, ())) not in ranks:
            raise ValueError(
                f"{prefix} must have a weight '{name}' of {ranks[0]} "
                f"dimensions. Received: {shapes.get(name)}"
            )
        return shapes[name]

    attention = "encoder/block_000/layer_000/SelfAttention"
    dense = "encoder/block_000/layer_001/DenseReluDense"
    vocab_size, d_model = shape("shared/embedding", 2)
    heads, buckets = shape(f"{attention}/relative_attention_bias", 2)
    inner = int(np.prod(shape(f"{attention}/q", 2, 3)[1:]))
    is_gated = f"{dense}/wi_0/kernel" in shapes
    gate = "wi_0" if is_gated else "wi"
    _, d_ff = shape(f"{dense}/{gate}/kernel", 2)
    if inner % heads:
        raise ValueError(
            f"{prefix}: q kernels are {inner} wide, which {heads} heads do "
            "not divide."
        )
    return T5Config(
        vocab_size=vocab_size,
        d_model=d_model,
        d_kv=inner // heads,
        d_ff=d_ff,
        num_heads=heads,
        num_encoder_layers=count_layers(shapes, "encoder/block_"),
        num_decoder_layers=count_layers(shapes, "decoder/block_"),
        feed_forward="gated-gelu" if is_gated else "relu",
        is_tied="decoder/logits/kernel" not in shapes,
        num_buckets=buckets,
    )


def _names(prefix: Path, config: T5Config, shapes: Shapes) -> dict[str, str]:
    """The stored name of every weight of ours."""
    names = {}
    for name in weight_table(config):
        later = re.sub(r"(final_)?layer_norm/scale$", "rms_norm/scale", name)
        found = [stored for stored in {name, later} if stored in shapes]
        if len(found) != 1:
            raise ValueError(
                f"{prefix} must have one weight '{name}'"
                + (f" or '{later}'" if later != name else "")
                + f". Received: {sorted(found) or 'none'}"
            )
        names[name] = found[0]
    return names


def _check(
    prefix: Path,
    config: T5Config,
    names: Mapping[str, str],
    shapes: Shapes,
    dtypes: Mapping[str, Any],
) -> None:
    for name, stored in names.items():
        apart = weight_shape(config, name)
        fused = fused_shape(name, apart)
        if shapes[stored] not in (apart, fused):
            raise ValueError(
                f"{prefix}: '{stored}' must have shape {fused}, as the other "
                f"weights say. Received: {shapes[stored]}"
            )
        if dtypes[stored] not in _DTYPES:
            raise ValueError(
                f"{prefix}: '{stored}' must hold float32 or bfloat16. "
                f"Received: {dtypes[stored].name}"
            )
    known = set(names.values())
    for stored in shapes:
        slot = _SLOT.fullmatch(stored)
        if not (
            stored in known
            or stored == "global_step"
            or (slot and slot[1] in known)
        ):
            raise ValueError(f"{prefix} has a weight of no T5: '{stored}'.")


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0]}"
