"""What becomes a variable's memory: right, rounded, its own."""

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from keras_prompt.models.t5.initial_values import aligned_tensor


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
@pytest.mark.parametrize("stored", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4)])
def test_a_tensor_has_the_arrays_numbers(dtype, stored, shape):
    numbers = np.random.default_rng(0).standard_normal(shape).astype(stored)
    tensor = aligned_tensor(numbers, dtype)
    assert tensor.dtype == dtype
    np.testing.assert_array_equal(
        tensor.numpy(), numbers.astype(dtype.as_numpy_dtype)
    )


def test_changing_the_array_or_the_variable_does_not_change_the_other():
    array = np.ones((2, 3), np.float32)
    variable = tf.Variable(aligned_tensor(array, tf.float32))
    array[:] = 5
    np.testing.assert_array_equal(variable, np.ones((2, 3)))
    variable.assign_add(np.ones((2, 3), np.float32))
    np.testing.assert_array_equal(variable, np.full((2, 3), 2))
    np.testing.assert_array_equal(array, np.full((2, 3), 5))


def test_bfloat16_is_rounded_to_nearest_even_as_tensorflow_does():
    halfway = np.float32(1) + np.float32(2**-8) * np.arange(6, dtype="f")
    expected = tf.cast(halfway, tf.bfloat16)
    np.testing.assert_array_equal(
        aligned_tensor(halfway, tf.bfloat16), expected
    )
