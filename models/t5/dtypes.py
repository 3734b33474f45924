"""What a T5 can be computed with: Keras on TensorFlow, and number types."""

import keras

_DTYPES = ("float32", "bfloat16", "mixed_bfloat16", "int8")


def check_backend() -> None:
    """Refuses Keras on anything but TensorFlow, which nothing here runs on.

    Raises:
        ValueError: it is on something else.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ValueError(
            "Keras must run on TensorFlow. Set KERAS_BACKEND=tensorflow, or "
            '"backend": "tensorflow" in ~/.keras/keras.json, before Keras is '
            f"imported. Received: {backend!r}"
        )


def check_dtype(dtype: str, *, trainable: bool) -> None:
    """Refuses types that would give wrong numbers.

    Args:
        dtype: of `MeshT5Backbone`.
        trainable: whether its weights learn.

    Raises:
        ValueError: it is none of T5's, or one whose weights cannot learn.
    """
    if dtype not in _DTYPES:
        raise ValueError(
            f"`dtype` must be one of {', '.join(_DTYPES)}; T5's "
            "activations exceed float16's largest number, 65,504, and "
            f"become infinite. Received: dtype={dtype!r}"
        )
    if dtype in ("bfloat16", "int8") and trainable:
        why = (
            "whole numbers take no small steps"
            if dtype == "int8"
            else "steps that are small beside a weight are rounded away"
        )
        raise ValueError(
            f"`trainable` must be False for dtype={dtype!r}: {why}. Received: "
            "trainable=True; use 'float32' or 'mixed_bfloat16'."
        )
