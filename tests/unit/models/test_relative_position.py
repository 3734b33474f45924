"""Buckets of distances, against the published formula."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_prompt.models.t5.relative_position import relative_position_bucket

# T5's own sizes, and others.
SIZES = [(32, 128), (16, 64), (32, 256), (64, 128), (4, 128), (12, 77)]


def found(distances, is_bidirectional, num_buckets, max_distance):
    """Buckets of a query that stands so far behind what it looks at."""
    return relative_position_bucket(
        distances,
        np.zeros(1, np.int32),
        is_bidirectional=is_bidirectional,
        num_buckets=num_buckets,
        max_distance=max_distance,
    ).numpy()[:, 0]


def published(distances, is_bidirectional, num_buckets, max_distance):
    """Mesh-TF's `_relative_position_bucket`, in NumPy's float32."""
    start = np.zeros_like(distances)
    if is_bidirectional:
        num_buckets //= 2
        start = np.where(distances < 0, num_buckets, 0)
        distances = np.abs(distances)
    distances = np.maximum(distances, 0)
    exact = num_buckets // 2
    ratio = np.maximum(distances, 1).astype(np.float32) / np.float32(exact)
    step = np.float32((num_buckets - exact) / math.log(max_distance / exact))
    far = exact + (np.log(ratio) * step).astype(np.int32)
    far = np.minimum(far, num_buckets - 1)
    return start + np.where(distances < exact, distances, far)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("is_bidirectional", [True, False])
def test_buckets_are_the_published_formula_s(is_bidirectional, sizes):
    distances = np.arange(-1000, 1001, dtype=np.int32)
    np.testing.assert_array_equal(
        found(distances, is_bidirectional, *sizes),
        published(distances, is_bidirectional, *sizes),
    )


def test_a_device_s_rounding_moves_no_distance_to_another_bucket(monkeypatch):
    """8 * 16 ** (k / 8) is 16, 32 and 64 for k 2, 4 and 6."""
    log = tf.math.log

    def a_little_less(x):
        return log(x) * (1 - 1e-6)

    monkeypatch.setattr(tf.math, "log", a_little_less)
    distances = np.array([15, 16, 31, 32, 63, 64], np.int32)
    buckets = [9, 10, 11, 12, 13, 14]
    assert found(distances, True, 32, 128).tolist() == buckets
