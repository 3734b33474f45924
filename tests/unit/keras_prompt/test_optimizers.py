"""Adafactor against the rule of T5X, written out in NumPy."""

import keras
import numpy as np
import pytest

from keras_prompt.optimizers import Adafactor


def t5x_steps(weight, gradients, step_offset, lr=0.3, decay_rate=1e-5):
    """The published rule; factored if both sides reach 128."""
    is_factored = min(weight.shape) >= 128
    v = np.zeros(weight.shape)
    rows, columns = np.zeros(weight.shape[0]), np.zeros(weight.shape[1])
    for iteration, g in enumerate(gradients):
        t = iteration + 1 - step_offset
        decay = 1 - t**-0.8
        squared = g * g + 1e-30
        if is_factored:
            rows = decay * rows + (1 - decay) * squared.mean(axis=1)
            columns = decay * columns + (1 - decay) * squared.mean(axis=0)
            v = np.outer(rows / rows.mean(), columns)
        else:
            v = decay * v + (1 - decay) * squared
        u = g / np.sqrt(v)
        u = u / max(1.0, np.sqrt((u * u).mean()))
        weight = weight * (1 - decay_rate) - lr * u
        yield weight


@pytest.mark.parametrize("step_offset", [0, -1_100_000])
@pytest.mark.parametrize(
    ("prompt_length", "slots"),
    [(100, [(100, 160)]), (150, [(150,), (160,)])],
)
def test_every_step_is_t5xs(prompt_length, slots, step_offset):
    rng = np.random.default_rng(0)
    start = rng.normal(size=(prompt_length, 160))
    gradients = rng.normal(size=(5, prompt_length, 160)) * [
        [[1e-3]],
        [[1.0]],
        [[10.0]],
        [[1e-2]],
        [[1e-5]],
    ]
    variable = keras.Variable(start, dtype="float32")
    optimizer = Adafactor(0.3, step_offset=step_offset)
    expected = t5x_steps(start, gradients, step_offset)
    for gradient, after in zip(gradients, expected, strict=True):
        optimizer.apply([gradient.astype(np.float32)], [variable])
        np.testing.assert_allclose(variable.numpy(), after, 1e-4, 1e-5)
    moments = [v for v in optimizer.variables if "second_moment" in v.path]
    assert [tuple(v.shape) for v in moments] == slots


def test_the_step_is_neither_capped_nor_scaled_by_the_weight():
    """Keras' own Adafactor would move 0.3 * rms(w) and less each step."""
    variable = keras.Variable(np.full((4, 4), 0.01), dtype="float32")
    optimizer = Adafactor(0.3, weight_decay=0.0)
    for _ in range(5):
        optimizer.apply([np.ones((4, 4), np.float32)], [variable])
    np.testing.assert_allclose(variable.numpy(), 0.01 - 5 * 0.3, rtol=1e-5)


def test_scaling_by_parameter_size_is_t5s():
    variable = keras.Variable(np.full((4, 4), 2.0), dtype="float32")
    optimizer = Adafactor(0.1, weight_decay=0.0, scale_by_parameter_size=True)
    optimizer.apply([np.ones((4, 4), np.float32)], [variable])
    np.testing.assert_allclose(variable.numpy(), 2.0 - 0.1 * 2.0, rtol=1e-6)


def test_three_dimensional_weights_factor_their_two_largest_axes():
    variable = keras.Variable(np.ones((200, 3, 150)), dtype="float32")
    optimizer = Adafactor(0.1)
    rng = np.random.default_rng(0)
    gradient = rng.normal(size=(200, 3, 150)).astype(np.float32)
    optimizer.apply([gradient], [variable])
    moments = [v for v in optimizer.variables if "second_moment" in v.path]
    assert [tuple(v.shape) for v in moments] == [(3, 150), (200, 3)]
    squared = gradient**2
    rows, columns = squared.mean(axis=0), squared.mean(axis=2)
    estimate = rows[None] * columns[:, :, None] / rows.mean(axis=-1)[:, None]
    update = gradient / np.sqrt(estimate)
    update /= max(1.0, np.sqrt((update**2).mean()))
    expected = (1 - 1e-5) - 0.1 * update
    np.testing.assert_allclose(variable.numpy(), expected, 1e-4, 1e-5)


def test_config_round_trip():
    optimizer = Adafactor(0.2, step_offset=-7, weight_decay=1e-4)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(copy, Adafactor)
    assert copy.get_config() == optimizer.get_config()


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("clip_threshold", 0),
        ("decay_exponent", -1),
        ("weight_decay", 1.0),
        ("step_offset", 1),
    ],
)
def test_numbers_out_of_range_are_refused(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must .*Received"):
        Adafactor(0.3, **{argument: value})
