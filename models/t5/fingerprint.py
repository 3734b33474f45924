"""Tells one set of weights from another, however they are stored.

A hexadecimal SHA-256 over every weight's name and shape and at least 65,536 of
its values, or all, evenly spaced and rounded to bfloat16: a checkpoint has one
fingerprint whether it is kept as float32 or bfloat16. An int8 model takes it
from the weights it is made of, before they are quantised, so that a prompt
fits the float and the int8 model of one checkpoint alike.
"""

import hashlib

import ml_dtypes
import numpy as np
import tensorflow as tf

from keras_prompt.types import FloatArray, Tensor

_SAMPLES = 65_536  # values of each weight, at least, that are hashed


class Fingerprint:
    """A fingerprint in the making; the order of weights counts."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, name: str, value: FloatArray | Tensor) -> None:
        """Takes in a weight, by its Mesh-TF name, of any float type or int8."""
        self._digest.update(f"{name}{tuple(value.shape)}".encode())
        is_array = isinstance(value, np.ndarray)
        flat = value.reshape(-1) if is_array else tf.reshape(value, [-1])
        stride = max(1, flat.shape[0] // _SAMPLES)
        sample = np.asarray(flat[::stride]).astype(ml_dtypes.bfloat16)
        self._digest.update(sample.tobytes())

    def text(self) -> str:
        """The hexadecimal digits."""
        return self._digest.hexdigest()
