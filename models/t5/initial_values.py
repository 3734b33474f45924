"""Turns a weight read from disk into what its variable keeps, with one copy.

`tf.convert_to_tensor` copies an array twice, once so that the caller may
change it and once to align it; of an embedding table of XXL each copy is half
a gigabyte.
"""

import numpy as np
import tensorflow as tf

from keras_prompt.types import FloatArray, Int8Array, Tensor

_ALIGNMENT = 64  # bytes; TensorFlow's EIGEN_MAX_ALIGN_BYTES


def aligned_tensor(value: FloatArray | Int8Array, dtype: tf.DType) -> Tensor:
    """A tensor of the array's numbers.

    Args:
        value: float32, bfloat16 or int8, any shape.
        dtype: of the tensor; numbers are rounded to nearest even.

    Returns:
        A tensor that owns its memory: changing `value` does not change it.
    """
    size = dtype.size * value.size
    buffer = np.empty(size + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    aligned = buffer[start : start + size].view(dtype.as_numpy_dtype)
    aligned = aligned.reshape(value.shape)
    aligned[...] = value
    # DLPack hands memory over; as integers, since it knows no bfloat16.
    bits = aligned.view(f"u{dtype.size}")
    tensor = tf.experimental.dlpack.from_dlpack(bits.__dlpack__())
    return tf.bitcast(tensor, dtype)
