"""Aliases for signatures; the shapes themselves stand in docstrings."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

Tensor: TypeAlias = tf.Tensor
FloatArray: TypeAlias = npt.NDArray[np.float32]
Int8Array: TypeAlias = npt.NDArray[np.int8]
