"""Our stack against what `transformers` gave, without `transformers`."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from oracles.stack_cases import CASES, run_ours

from keras_prompt.models.t5.backbone import MeshT5Backbone

GOLDEN = Path(__file__).parents[2] / "golden" / "stack"


@pytest.mark.parametrize("name", CASES)
def test_logits_loss_and_prompt_gradient_equal_the_golden(name: str):
    case = CASES[name]
    ours = run_ours(case.backbone(), case.batch())
    with np.load(GOLDEN / f"{name}.npz") as golden:
        assert set(golden) == {"logits", "loss", "gradient"}
        for quantity in golden:
            np.testing.assert_allclose(
                ours[quantity],
                golden[quantity],
                rtol=1e-4,
                atol=1e-4,
                err_msg=quantity,
            )


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["t5_1_1", "t5_1_0"])
def test_bfloat16_stays_near_float32(name: str, dtype: str):
    """On T5's own initial weights; the cases' are too steep to round."""
    case = CASES[name]
    exact = run_ours(MeshT5Backbone(case.config), case.batch())["logits"]
    rounded = MeshT5Backbone(case.config, dtype=dtype)
    logits = run_ours(rounded, case.batch())["logits"]
    assert logits.dtype == np.float32
    error = np.linalg.norm(logits - exact) / np.linalg.norm(exact)
    assert 0 < error < 2e-2


def test_weights_are_resident_in_the_storage_type():
    backbone = CASES["t5_1_1"].backbone(dtype="bfloat16")
    assert {w.value.dtype for w in backbone.weights} == {tf.bfloat16}
