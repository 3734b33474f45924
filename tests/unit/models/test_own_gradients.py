"""Gradients written by hand equal TensorFlow's of the plain formula."""

import numpy as np
import pytest
import tensorflow as tf

from keras_prompt.models.t5.attention_core import attend
from keras_prompt.models.t5.feed_forward import _gated_gelu

RANDOM = np.random.RandomState(3)


def normal(*shape):
    return tf.constant(RANDOM.standard_normal(shape).astype(np.float32))


def plain_attention(queries, keys, values, mask_bias, bias=0.0):
    logits = tf.einsum("blhk,bmhk->bhlm", queries, keys)
    weights = tf.nn.softmax(logits + mask_bias[:, None] + bias)
    return tf.einsum("bhlm,bmhk->blhk", weights, values)


def plain_gated_gelu(gate, hidden):
    return tf.nn.gelu(gate, approximate=True) * hidden


def attention_inputs(length, memory_length, *, has_bias):
    shapes = [(2, length, 3, 4), (2, memory_length, 3, 4)]
    inputs = [normal(*shapes[0]), normal(*shapes[1]), normal(*shapes[1])]
    hidden = np.zeros((2, 1, memory_length), np.float32)
    hidden[1, :, -2:] = -1e9
    inputs.append(tf.constant(hidden))
    if has_bias:
        inputs.append(normal(3, length, memory_length))
    return inputs


CASES = {
    "self-attention": (
        attend,
        plain_attention,
        attention_inputs(5, 5, has_bias=True),
    ),
    "cross-attention": (
        attend,
        plain_attention,
        attention_inputs(3, 7, has_bias=False),
    ),
    "gated GELU": (
        _gated_gelu,
        plain_gated_gelu,
        [4.0 * normal(2, 5, 9), normal(2, 5, 9)],
    ),
}


def value_and_gradients(function, inputs):
    """The mask's bias, the fourth input, learns nothing."""
    learning = [x for index, x in enumerate(inputs) if index != 3]
    with tf.GradientTape() as tape:
        tape.watch(learning)
        value = function(*inputs)
        total = tf.reduce_sum(tf.sin(value))
    return [value, *tape.gradient(total, learning)]


@pytest.mark.parametrize("is_recomputed", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_value_and_gradients_are_those_of_the_plain_formula(
    case, is_recomputed
):
    ours, plain, inputs = CASES[case]
    if is_recomputed:
        ours = tf.recompute_grad(ours)
    # Not as an argument: tf.function would take its decorator off.
    found = tf.function(lambda: value_and_gradients(ours, inputs))()
    expected = value_and_gradients(plain, inputs)
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_in_bfloat16_they_are_near(case):
    ours, plain, inputs = CASES[case]
    narrow = [
        x if index > 2 else tf.cast(x, tf.bfloat16)
        for index, x in enumerate(inputs)
    ]
    found = value_and_gradients(ours, narrow)
    assert found[0].dtype == found[1].dtype == tf.bfloat16
    wide = [tf.cast(x, tf.float32) for x in narrow]
    for mine, theirs in zip(
        found, value_and_gradients(plain, wide), strict=True
    ):
        error = np.abs(tf.cast(mine, tf.float32) - theirs).max()
        assert error < 0.03 * np.abs(theirs).max()


def test_a_far_gate_is_open_or_closed():
    """Where the sigmoid has reached its ends no number is lost."""
    gates = tf.constant([-1e4, -40.0, 40.0, 1e4])
    found = value_and_gradients(_gated_gelu, [gates, tf.ones(4)])
    np.testing.assert_array_equal(found[0], [0.0, 0.0, 40.0, 1e4])
    assert np.isfinite(np.concatenate(found)).all()
