"""Kernels as whole numbers of 8 bits: which ones, how, and their scales.

Each output channel n of a kernel has one float32 scale s[n], its largest
absolute value over 127; its numbers w[k, n] are stored as q[k, n] =
round(w[k, n] / s[n]), from -127 to 127. As s[n] does not depend on k, it
leaves the sum: x @ (s * q) = s * (x @ q), so that a product is taken with q
and scaled afterwards, and only float32's rounding tells the two apart. An
error of a weight is at most s[n] / 2.

The embedding table has a scale a row: the vector of a token, and, where the
output layer is tied, an output channel. Norms and relative position biases,
a thousandth of the numbers, stay float32.
"""

from typing import TYPE_CHECKING

import numpy as np

from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.variables import Dimensions, weight_table

if TYPE_CHECKING:  # a plan is made without TensorFlow, which it imports
    from keras_prompt.types import FloatArray, Int8Array

_LARGEST = 127  # -128 is left out, so that the range is symmetric
_SMALLEST = np.finfo(np.float32).tiny
_BLOCK = 1 << 20  # numbers that are quantised at a time, 4 MiB as float32


def scale_name(name: str) -> str:
    """What the scales of a weight are called."""
    return f"{name}/int8_scale"


def scale_dimensions(name: str, dimensions: Dimensions) -> Dimensions | None:
    """Those of a weight's scales; none for a weight that stays float32.

    They are the weight's own without those that a product sums over.
    """
    summed = _summed(name)
    if not summed:
        return None
    return tuple(row for row in dimensions if row[0] not in summed)


def scale_table(config: T5Config) -> dict[str, Dimensions]:
    """The dimensions of all scales, by the names of the scales."""
    return {
        scale_name(name): channels
        for name, dimensions in weight_table(config).items()
        if (channels := scale_dimensions(name, dimensions)) is not None
    }


def quantise(
    name: str, dimensions: Dimensions, value: "FloatArray"
) -> "tuple[Int8Array, FloatArray]":
    """A kernel's whole numbers and scales.

    Beside the two results it needs memory for a block of the kernel only.

    Args:
        name: Mesh-TF's, of a kernel or the embedding table.
        dimensions: of the weight.
        value: float, of those dimensions.

    Returns:
        int8 of the same shape, and float32 of the shape in `scale_table`.

    Raises:
        ValueError: a number is not finite.
    """
    summed = _summed(name)
    axes = tuple(
        axis
        for axis, (dimension, _) in enumerate(dimensions)
        if dimension in summed
    )
    largest = np.maximum(value.max(axes), -value.min(axes)).astype(np.float32)
    if not np.isfinite(largest).all():
        raise ValueError(f"Weight '{name}' holds numbers that are not finite.")
    # Not 0, for a channel of zeros.
    scale = np.maximum(largest / np.float32(_LARGEST), _SMALLEST)
    spread = np.expand_dims(scale, axes)
    quantised: Int8Array = np.empty(value.shape, np.int8)
    rows = max(1, _BLOCK // max(1, value[0].size))
    for start in range(0, len(value), rows):
        part = slice(start, start + rows)
        divisor = spread if spread.shape[0] == 1 else spread[part]
        steps = value[part] / divisor
        quantised[part] = np.rint(steps, out=steps)
    return quantised, scale


def dequantise(
    name: str,
    dimensions: Dimensions,
    quantised: "Int8Array",
    scale: "FloatArray",
) -> "FloatArray":
    """The float32 weight that whole numbers and scales stand for."""
    summed = _summed(name)
    spread = scale.reshape(
        [1 if dimension in summed else size for dimension, size in dimensions]
    )
    return quantised.astype(np.float32) * spread


def _summed(name: str) -> tuple[str, ...]:
    """The dimensions that a product with a weight sums over.

    None of norms and relative position biases, which are not quantised.
    """
    if name.endswith(("/scale", "/relative_attention_bias")):
        return ()
    if name.endswith("/o"):
        return ("heads", "d_kv")
    return ("d_ff",) if name.endswith("/wo/kernel") else ("d_model",)
