"""What no T5 can be is refused where its sizes are given."""

import dataclasses

import numpy as np
import pytest

from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.relative_position import relative_position_bucket

CONFIG = T5Config(24, 16, 4, 24, 2, 1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_heads": 0}, "`num_heads` must be a positive integer"),
        ({"num_encoder_layers": True}, "must be a positive integer"),
        ({"num_buckets": 32.0}, "`num_buckets` must be a positive integer"),
        ({"num_buckets": 3}, "`num_buckets` must be at least 4"),
        ({"max_distance": 16}, "`max_distance` must be above half of num_buc"),
        ({"layer_norm_epsilon": 0.0}, "`layer_norm_epsilon` must be positive"),
        ({"layer_norm_epsilon": "1e-6"}, "`layer_norm_epsilon` must be pos"),
        ({"feed_forward": "gelu"}, "`feed_forward` must be 'gated-gelu'"),
    ],
)
def test_what_no_t5_can_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **change)


def test_numpys_sizes_are_kept_as_pythons():
    config = dataclasses.replace(CONFIG, d_ff=np.int64(24))
    assert config == CONFIG
    assert type(config.d_ff) is int


@pytest.mark.parametrize(("buckets", "distance"), [(4, 3), (5, 3), (32, 17)])
def test_the_least_that_is_taken_fills_its_buckets(buckets, distance):
    dataclasses.replace(CONFIG, num_buckets=buckets, max_distance=distance)
    positions = np.arange(60, dtype=np.int32)
    for is_bidirectional in (True, False):
        found = relative_position_bucket(
            positions,
            positions,
            is_bidirectional=is_bidirectional,
            num_buckets=buckets,
            max_distance=distance,
        )
        assert found.numpy().min() == 0
        assert found.numpy().max() < buckets
