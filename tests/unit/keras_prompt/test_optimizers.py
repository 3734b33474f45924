"""Adafactor against the rule of T5X, written out in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

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


def test_vectors_are_never_factored():
    variable = keras.Variable(np.zeros(200), dtype="float32")
    optimizer = Adafactor(0.1)
    optimizer.apply([np.full(200, -3.0, np.float32)], [variable])
    # The first decay is 0, so the first step is the gradient's sign.
    np.testing.assert_allclose(variable.numpy(), 0.1, rtol=1e-6)
    assert tuple(optimizer.variables[-1].shape) == (200,)


def test_a_schedule_gives_each_steps_learning_rate():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [0], [1.0, 0.25]
    )
    variable = keras.Variable(np.zeros(4), dtype="float32")
    optimizer = Adafactor(schedule, weight_decay=0.0)
    for _ in range(2):
        optimizer.apply([np.ones(4, np.float32)], [variable])
    np.testing.assert_allclose(variable.numpy(), -1.25, rtol=1e-6)


def test_a_schedule_counts_steps_and_not_the_batches_of_each():
    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0)
    optimizer = Adafactor(schedule, gradient_accumulation_steps=2)
    variable = keras.Variable(np.zeros(4), dtype="float32")
    for _ in range(4):
        optimizer.apply([np.ones(4, np.float32)], [variable])
    assert int(optimizer.iterations) == 2
    np.testing.assert_allclose(float(optimizer.learning_rate), 0.8)


def test_a_gradient_of_slices_is_a_whole_one():
    whole = np.zeros((6, 2), np.float32)
    whole[[1, 4]] = [[1.0, -2.0], [3.0, 4.0]]
    slices = tf.IndexedSlices(whole[[1, 4]], [1, 4], [6, 2])
    results = []
    for gradient in (whole, slices):
        variable = keras.Variable(np.ones((6, 2)), dtype="float32")
        Adafactor(0.1).apply([gradient], [variable])
        results.append(variable.numpy())
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("prompt_length", [100, 150])
def test_restored_slots_continue_bit_equal(prompt_length):
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(6, prompt_length, 130)).astype(np.float32)
    variable = keras.Variable(gradients[0], dtype="float32")
    optimizer = Adafactor(0.3)
    for gradient in gradients[:3]:
        optimizer.apply([gradient], [variable])
    copied = keras.Variable(variable.numpy(), dtype="float32")
    resumed = Adafactor(0.3)
    resumed.build([copied])
    resumed.set_weights([v.numpy() for v in optimizer.variables])
    for gradient in gradients[3:]:
        optimizer.apply([gradient], [variable])
        resumed.apply([gradient], [copied])
    np.testing.assert_array_equal(copied.numpy(), variable.numpy())


def test_accumulated_gradients_are_one_step_of_their_mean():
    rng = np.random.default_rng(3)
    start, gradients = rng.normal(size=(4, 6)), rng.normal(size=(4, 4, 6))

    def after(steps, accumulation):
        variable = keras.Variable(start, dtype="float32")
        optimizer = Adafactor(0.3, gradient_accumulation_steps=accumulation)
        optimizer.build([variable])
        apply = tf.function(lambda g: optimizer.apply([g], [variable]))
        for gradient in steps:
            apply(tf.constant(gradient, tf.float32))
        return variable.numpy()

    means = [gradients[:2].mean(axis=0), gradients[2:].mean(axis=0)]
    np.testing.assert_allclose(
        after(gradients, 2), after(means, None), rtol=1e-5
    )


def test_compiled_steps_are_the_same_steps():
    gradients = np.random.default_rng(0).normal(size=(3, 130, 140))
    results = []
    for jit_compile in (False, True):
        variable = keras.Variable(np.ones((130, 140)), dtype="float32")
        optimizer = Adafactor(0.3)
        optimizer.build([variable])

        @tf.function(jit_compile=jit_compile)
        def step(gradient):
            optimizer.apply([gradient], [variable])  # noqa: B023

        for gradient in gradients:
            step(tf.constant(gradient, tf.float32))
        results.append(variable.numpy())
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-5)


def test_a_positive_offset_needs_a_step_that_large():
    variable = keras.Variable(np.zeros(4), dtype="float32")
    with pytest.raises(ValueError, match="`step_offset` must not exceed"):
        Adafactor(0.3, step_offset=7).build([variable])
    late = Adafactor(0.3, step_offset=7, weight_decay=0.0)
    late.iterations.assign(7)
    late.apply([np.ones(4, np.float32)], [variable])
    np.testing.assert_allclose(variable.numpy(), -0.3, rtol=1e-6)


def test_weights_that_are_excluded_do_not_decay():
    scale, other = (
        keras.Variable(np.ones(4), dtype="float32", name=name)
        for name in ("scale", "other")
    )
    optimizer = Adafactor(0.0, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["scale"])
    optimizer.apply([np.ones(4, np.float32)] * 2, [scale, other])
    np.testing.assert_array_equal(scale, np.ones(4))
    np.testing.assert_array_equal(other, np.full(4, 0.5))


def test_no_weight_decay_is_none():
    optimizer = Adafactor(0.0, weight_decay=None)
    assert optimizer.get_config() == Adafactor(0.0, weight_decay=0).get_config()


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
    ],
)
def test_numbers_out_of_range_are_refused(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must .*Received"):
        Adafactor(0.3, **{argument: value})
