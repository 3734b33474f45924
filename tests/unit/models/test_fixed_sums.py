"""The same step again gives the same bits, whatever the threads do."""

import numpy as np
import pytest
import tensorflow as tf

from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models.fixed_sums import fixed_order_of_sums
from keras_prompt.models.language_model import T5LanguageModel
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config
from keras_prompt.optimizers import Adafactor

REPEATS = 100  # without the fix about a quarter of them differ


def arithmetic():
    options = tf.config.optimizer.get_experimental_options()
    return options.get("arithmetic_optimization", True)


def test_gradients_of_the_same_batch_have_the_same_bits():
    backbone = MeshT5Backbone(
        T5Config(256, 8, 4, 8, 2, 1, 1), seed=0, trainable=True
    )
    model = T5LanguageModel(backbone)
    model.compile(optimizer=Adafactor(0.01), loss=TokenCrossentropy())
    rng = np.random.default_rng(0)
    # Few different tokens: their embeddings' gradients are sums of many.
    encoder = rng.integers(3, 20, (2, 32)).astype(np.int32)
    decoder = rng.integers(3, 20, (2, 8)).astype(np.int32)
    x = {
        "encoder_token_ids": encoder,
        "encoder_segments": np.ones_like(encoder),
        "encoder_padding_mask": encoder > 0,
        "decoder_token_ids": decoder,
        "decoder_segments": np.ones_like(decoder),
    }
    data = tf.nest.map_structure(
        tf.constant, (x, decoder, np.ones(decoder.shape, np.float32))
    )
    step = tf.function(model._loss_and_gradients, autograph=False)
    with fixed_order_of_sums():
        _, first = step(*data)
        for _ in range(REPEATS):
            for mine, theirs in zip(step(*data)[1], first, strict=True):
                np.testing.assert_array_equal(mine, theirs)


def test_the_setting_is_as_it_was_afterwards():
    before = arithmetic()

    def fail():
        with fixed_order_of_sums():
            assert not arithmetic()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert arithmetic() == before


def test_fit_trains_in_a_fixed_order(tiny_model, monkeypatch):
    seen = []

    def step(self, data):
        seen.append(arithmetic())
        return {"loss": tf.constant(0.0)}

    monkeypatch.setattr(type(tiny_model), "train_step", step)
    tiny_model.compile(optimizer=Adafactor(0.3), loss=TokenCrossentropy())
    tiny_model.fit(tf.data.Dataset.from_tensors(np.zeros((1, 1))), verbose=0)
    assert seen == [False]
