"""Checkpoints as Mesh TensorFlow's T5 leaves them, by TensorFlow's own saver.

Both namings of the norms that were published, and the Adafactor slots.
"""

import re

import numpy as np
import tensorflow as tf


def stored_weights(weights, *, norms="layer_norm", is_fused=True):
    """Mesh TensorFlow's arrays by its names, of ours."""
    stored = {}
    for name, value in weights.items():
        if norms == "rms_norm":
            name = re.sub(r"(final_)?layer_norm/scale$", "rms_norm/scale", name)
        if is_fused and value.ndim == 3:
            rows = -1 if name.endswith("/o") else len(value)
            value = value.reshape(rows, value.shape[2] if rows == -1 else -1)
        stored[name] = value
    return stored


def slots(stored):
    """Adafactor's slots: factored above one axis, whole for scales."""
    found = {}
    for name, value in stored.items():
        if value.ndim == 1:
            found[f"{name}_slot_v"] = np.ones_like(value)
        else:
            found[f"{name}_slot_vr"] = np.ones(value.shape[:1], np.float32)
            found[f"{name}_slot_vc"] = np.ones(value.shape[1:], np.float32)
    return found


def write_step(folder, stored, step=7):
    """One step's files, with slots and `global_step`; no state file."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {**stored, **slots(stored), "global_step": np.int64(step)}
    tf.raw_ops.SaveV2(
        prefix=str(folder / f"model.ckpt-{step}"),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    return folder / f"model.ckpt-{step}"
