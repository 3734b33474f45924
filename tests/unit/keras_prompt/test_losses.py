"""The loss, by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_prompt.losses import TokenCrossentropy

LOGITS = np.log(np.array([[[1.0, 2.0, 5.0], [4.0, 4.0, 8.0]]], np.float32))
# Row sums 8 and 16: token losses -log(5/8) and -log(4/16).
CE = np.array([-np.log(5 / 8), -np.log(4 / 16)])
LOG_Z = np.log([8.0, 16.0])


def test_cross_entropy_and_z_loss_by_hand():
    loss = TokenCrossentropy(z_loss=0.1)(np.array([[2, 1]]), LOGITS)
    expected = np.mean(CE + 0.1 * LOG_Z**2)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_default_z_loss_is_t5s():
    loss = TokenCrossentropy()(np.array([[2, 1]]), LOGITS)
    np.testing.assert_allclose(loss, np.mean(CE + 1e-4 * LOG_Z**2), rtol=1e-6)


def test_the_gradient_is_that_of_the_plain_formula():
    random = np.random.RandomState(0)
    logits = tf.constant(3 * random.standard_normal((2, 4, 7)), tf.float32)
    y = np.array([[2, 1, 0, 0], [6, 3, 5, 1]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        loss = TokenCrossentropy(0.1)(y, logits)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
        losses += 0.1 * tf.reduce_logsumexp(logits, -1) ** 2
        expected = tf.reduce_sum(tf.where(y != 0, losses, 0.0)) / 6
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(
        tape.gradient(loss, logits), tape.gradient(expected, logits), atol=1e-6
    )


def test_ids_are_not_rounded_to_keras_own_type():
    logits = tf.random.stateless_normal([1, 2, 1000], [1, 2])
    y = np.array([[513, 999]])  # bfloat16 has neither
    expected = float(TokenCrossentropy()(y, logits))
    keras.config.set_floatx("bfloat16")
    try:
        assert float(TokenCrossentropy()(y, logits)) == expected
    finally:
        keras.config.set_floatx("float32")


def test_padding_does_not_count():
    loss = TokenCrossentropy(0.0)(np.array([[2, 0]]), LOGITS)
    np.testing.assert_allclose(loss, CE[0], rtol=1e-6)


def test_weights_make_a_mean_over_tokens_not_rows():
    logits = np.concatenate([LOGITS, LOGITS])
    y = np.array([[2, 1], [1, 1]])
    weights = np.array([[1.0, 1.0], [0.0, 1.0]])
    loss = TokenCrossentropy(0.0)(y, logits, weights)
    np.testing.assert_allclose(loss, (CE[0] + 2 * CE[1]) / 3, rtol=1e-6)


def test_negative_z_loss_is_refused():
    with pytest.raises(ValueError, match="`z_loss` must be at least 0"):
        TokenCrossentropy(-1.0)


@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_weights_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"shape \(B, T\).* of \(1, 2\)"):
        TokenCrossentropy()(np.array([[2, 1]]), LOGITS, np.ones(shape))


def test_a_batch_without_targets_costs_nothing():
    assert float(TokenCrossentropy()(np.array([[0, 0]]), LOGITS)) == 0.0


def test_config_round_trip():
    copy = keras.losses.deserialize(
        keras.losses.serialize(TokenCrossentropy(0.5))
    )
    assert copy.z_loss == 0.5
