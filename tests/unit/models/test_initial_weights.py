"""What pre-training begins with: Mesh TensorFlow's deviations, by hand."""

import math

import numpy as np
import pytest

from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.variables import initial_weight, weight_table

# By the end of a weight's name, for d_model 64, d_kv 16, 48 heads, d_ff 256
# and 32 buckets.
_DEVIATIONS = {
    "shared/embedding": 1.0,
    "/q": 0.03125,  # 1 / sqrt(64 * 16), as logits are not scaled by d_kv
    "/k": 0.125,  # 1 / sqrt(64)
    "/v": 0.125,
    "/o": 0.03608,  # 1 / sqrt(48 * 16)
    "/relative_attention_bias": 0.17678,  # 1 / sqrt(32), ours
    "/wi/kernel": 0.125,
    "/wi_0/kernel": 0.125,
    "/wi_1/kernel": 0.125,
    "/wo/kernel": 0.0625,  # 1 / sqrt(256)
    "decoder/logits/kernel": 0.125,
}


@pytest.mark.parametrize(("kind", "count"), [("gated-gelu", 10), ("relu", 9)])
def test_each_kind_of_weight_begins_with_its_deviation(kind, count):
    config = T5Config(100, 64, 16, 256, 48, 1, 1, feed_forward=kind)
    random = np.random.default_rng(0)
    kinds = set()
    for name, dimensions in weight_table(config).items():
        value = initial_weight(name, dimensions, random)
        assert value.dtype == np.float32
        assert value.shape == tuple(size for _, size in dimensions)
        if name.endswith("/scale"):
            np.testing.assert_array_equal(value, 1.0)
            continue
        (end,) = (end for end in _DEVIATIONS if name.endswith(end))
        kinds.add(end)
        deviation = _DEVIATIONS[end]
        assert value.std() == pytest.approx(deviation, rel=0.05), name
        # Four standard errors.
        assert abs(value.mean()) < 4 * deviation / math.sqrt(value.size), name
    assert len(kinds) == count
