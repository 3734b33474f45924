"""Computing activations twice changes no number; memory: `test_plan.py`."""

import numpy as np
import pytest
import tensorflow as tf
from oracles.stack_cases import CASES


@pytest.mark.parametrize(
    ("name", "jit_compile"),
    [("t5_1_1", False), ("t5_1_1", True), ("t5_1_0", False)],
)
def test_the_gradient_is_that_of_kept_activations(name, jit_compile):
    case = CASES[name]
    batch = case.batch()
    ids, targets = batch["encoder_token_ids"], batch["decoder_token_ids"]

    def gradient(rematerialize):
        backbone = case.backbone(rematerialize=rematerialize)
        embedded = backbone.embed(ids)

        @tf.function(autograph=False, jit_compile=jit_compile)
        def step(embedded):
            with tf.GradientTape() as tape:
                tape.watch(embedded)
                logits = backbone(embedded, ids > 0, targets, training=True)
                loss = tf.reduce_mean(tf.square(logits))
            return tape.gradient(loss, embedded)

        return step(embedded).numpy()

    kept = gradient(False)
    assert np.abs(kept).max() > 0
    np.testing.assert_allclose(
        gradient(True), kept, rtol=0, atol=1e-5 * np.abs(kept).max()
    )
