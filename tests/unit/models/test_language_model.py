"""A step of the model whose every weight learns."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models.language_model import T5LanguageModel
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config
from keras_prompt.optimizers import Adafactor

# V, D, K, F, H and the layers of encoder and decoder.
CONFIG = T5Config(40, 16, 4, 24, 2, 2, 1)


def batch(rows=4, seed=0):
    """Two packed examples a row, and padding that differs between rows."""
    rng = np.random.default_rng(seed)
    encoder = np.repeat([[1] * 5 + [2] * 5], rows, axis=0).astype(np.int32)
    decoder = np.repeat([[1] * 3 + [2] * 3], rows, axis=0).astype(np.int32)
    for row in range(rows):
        decoder[row, 6 - row :] = 0
    targets = rng.integers(1, 40, (rows, 6)).astype(np.int32)
    targets[decoder == 0] = 0
    x = {
        "encoder_token_ids": rng.integers(1, 40, (rows, 10)).astype(np.int32),
        "encoder_padding_mask": encoder > 0,
        "encoder_segments": encoder,
        "decoder_token_ids": np.roll(targets, 1, axis=1),
        "decoder_segments": decoder,
    }
    return x, targets, (targets != 0).astype(np.float32)


def model(micro_batches=1, dtype="float32"):
    backbone = MeshT5Backbone(CONFIG, seed=1, trainable=True, dtype=dtype)
    found = T5LanguageModel(backbone, micro_batches)
    optimizer = Adafactor(0.01, scale_by_parameter_size=True, weight_decay=0.0)
    found.compile(optimizer=optimizer, loss=TokenCrossentropy())
    return found


def gradients(found, x, y, weights):
    loss, values = found._loss_and_gradients(x, y, weights)
    return float(loss), [value.numpy() for value in values]


def trained(found, steps=3):
    dataset = tf.data.Dataset.from_tensors(batch()).repeat(steps)
    history = found.fit(dataset, verbose=0).history
    return history["loss"][0], [w.numpy() for w in found.backbone.weights]


@pytest.mark.parametrize("micro_batches", [2, 4])
def test_a_step_of_micro_batches_is_a_step_of_the_whole_batch(micro_batches):
    # The rows' target tokens differ in number: a mean of means would differ.
    loss, weights = trained(model())
    other_loss, other = trained(model(micro_batches))
    assert other_loss == pytest.approx(loss, abs=1e-5)
    for expected, found in zip(weights, other, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_gradients_of_micro_batches_add_up_to_1e_5():
    whole, parts = model(), model(4)
    parts.backbone.set_weights(whole.backbone.get_weights())
    data = tf.nest.map_structure(tf.constant, batch())
    loss, expected = gradients(whole, *data)
    found_loss, found = parts._accumulated(data)
    assert float(found_loss) == pytest.approx(loss, abs=1e-5)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)


def test_every_weight_learns():
    before = [w.numpy() for w in model().backbone.weights]
    _, after = trained(model())
    for old, new in zip(before, after, strict=True):
        assert (old != new).any()


def test_packed_examples_do_not_see_each_other():
    found = model()
    x, *_ = batch()
    changed = {name: value.copy() for name, value in x.items()}
    changed["encoder_token_ids"][:, 5:] = 7  # the second example's
    changed["decoder_token_ids"][:, 3:] = 7
    here = found(x).numpy()[:, :3]
    np.testing.assert_array_equal(found(changed).numpy()[:, :3], here)


def test_the_gradients_together_are_clipped_to_the_norm():
    steps = {}
    for norm in (None, 0.01):
        found = T5LanguageModel(MeshT5Backbone(CONFIG, seed=1, trainable=True))
        # Plain gradient descent: a step is the gradient itself.
        found.compile(
            optimizer=keras.optimizers.SGD(1.0, global_clipnorm=norm),
            loss=TokenCrossentropy(),
        )
        before = [w.numpy() for w in found.backbone.weights]
        _, after = trained(found, steps=1)
        steps[norm] = np.concatenate(
            [(b - a).ravel() for b, a in zip(before, after, strict=True)]
        )
    assert np.linalg.norm(steps[None]) > 0.1
    assert np.linalg.norm(steps[0.01]) == pytest.approx(0.01, rel=1e-3)
    scale = 0.01 / np.linalg.norm(steps[None])
    np.testing.assert_allclose(
        steps[0.01], steps[None] * scale, rtol=0, atol=1e-6
    )


def test_bfloat16_keeps_float32_weights():
    loss, weights = trained(model(2, dtype="mixed_bfloat16"))
    assert {w.dtype for w in weights} == {np.dtype("float32")}
    assert loss == pytest.approx(trained(model())[0], abs=0.02)


def test_bfloat16_weights_which_would_lose_small_steps_cannot_learn():
    with pytest.raises(ValueError, match="use 'float32' or 'mixed_bfloat16'"):
        MeshT5Backbone(CONFIG, dtype="bfloat16", trainable=True)
    MeshT5Backbone(CONFIG, dtype="bfloat16")
