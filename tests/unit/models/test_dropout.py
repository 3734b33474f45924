"""Dropout: where T5 has it, and never the same noise twice."""

import numpy as np
import pytest
import tensorflow as tf

from keras_prompt.models.mesh.local import Local
from keras_prompt.models.t5 import masks
from keras_prompt.models.t5.attention import attention, project_memory
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.dropout import DropoutNoise
from keras_prompt.models.t5.scope import Scope
from keras_prompt.models.t5.variables import weight_table

CONFIG = T5Config(24, 16, 4, 24, 2, 1, 1)
RANDOM = np.random.RandomState(5)


@pytest.fixture
def drawn(monkeypatch):
    """Seeds and noise of every call, in order."""
    calls = []
    draw = tf.random.stateless_uniform

    def record(shape, seed):
        noise = draw(shape, seed)
        calls.append((tuple(seed.numpy()), noise.numpy()))
        return noise

    monkeypatch.setattr(tf.random, "stateless_uniform", record)
    return calls


def test_no_noise_is_drawn_a_second_time(drawn):
    backbone = MeshT5Backbone(CONFIG, dropout_rate=0.5)
    ids = tf.constant([[3, 4, 5], [6, 7, 0]])
    for _ in range(3):
        backbone(backbone.embed(ids), ids > 0, ids[:, :2], training=True)
    # The encoder's input and output, its attention's weights and output, and
    # its feed-forward layer's inner units and output; the decoder has another
    # attention.
    sites = 6 + 8
    assert len(drawn) == 3 * sites
    assert len({seed for seed, _ in drawn}) == 3 * sites


@pytest.mark.parametrize("rate", [-0.5, 1.0, 1.5, float("nan"), "x", None])
def test_a_rate_that_is_no_share_is_refused(rate):
    with pytest.raises(ValueError, match="`dropout_rate` must be at least 0"):
        MeshT5Backbone(CONFIG, dropout_rate=rate)


def test_attention_weights_are_dropped_alike_for_every_query(drawn):
    name = "encoder/block_000/layer_000/SelfAttention"
    table = weight_table(CONFIG)
    kernels = {
        letter: RANDOM.standard_normal(
            [size for _, size in table[f"{name}/{letter}"]]
        ).astype(np.float32)
        for letter in "qkvo"
    }
    scope = Scope(
        CONFIG,
        Local(),
        lambda name, dtype: [tf.constant(kernels[name[-1]])],
        compute_dtype=tf.float32,
        is_frozen=True,
        dropout=DropoutNoise(0.25, tf.constant([1, 2])),
    )
    x = 0.2 * RANDOM.standard_normal((3, 5, 16)).astype(np.float32)
    is_real = np.arange(5) < [[5], [4], [2]]
    mask_bias = masks.padding_mask_bias(tf.constant(is_real))
    entered = scope.import_tensor(
        tf.constant(x), ["batch", "length", "d_model"]
    )
    mixed = attention(
        scope,
        entered,
        project_memory(scope, entered, name),
        name,
        scope.import_bias(mask_bias),
    )
    found = scope.lower({"mixed": mixed})["mixed"]

    queries, keys, values = (
        np.einsum("bld,dhk->blhk", x, kernels[letter]) for letter in "qkv"
    )
    logits = np.einsum("blhk,bmhk->bhlm", queries, keys) + mask_bias[:, None]
    weights = tf.nn.softmax(logits).numpy()
    ((_, noise),) = drawn
    assert noise.shape == (3, 5, 2)  # (batch, memory_length, heads)
    kept = np.moveaxis(noise < 0.75, -1, 1)
    assert 0 < kept.mean() < 1
    weights *= kept[:, :, None] / 0.75
    mixed = np.einsum("bhlm,bmhk->blhk", weights, values)
    expected = np.einsum("blhk,hkd->bld", mixed, kernels["o"])
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)
