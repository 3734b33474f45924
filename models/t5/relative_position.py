"""T5's relative positions: buckets of distances, and the bias they look up."""

import math

import tensorflow as tf

from keras_prompt.types import Tensor


def relative_position_bucket(
    query_positions: Tensor,
    memory_positions: Tensor,
    *,
    is_bidirectional: bool,
    num_buckets: int,
    max_distance: int,
) -> Tensor:
    """The bucket of every distance between a query and a memory position.

    Half of the buckets hold one distance each, the other half grow by equal
    ratios up to `max_distance`; an encoder spends half of all on each
    direction (Raffel et al. 2020, section 2.1; Mesh-TF `_relative_position_
    bucket`).

    Args:
        query_positions: int32 (L,).
        memory_positions: int32 (M,).
        is_bidirectional: True in an encoder; a decoder never looks ahead.
        num_buckets: of all kinds together.
        max_distance: from here on all distances share the last bucket.

    Returns:
        int32 (L, M), from 0 to `num_buckets - 1`.
    """
    distance = query_positions[:, None] - memory_positions[None, :]
    bucket = tf.zeros_like(distance)
    if is_bidirectional:
        num_buckets //= 2
        bucket += tf.cast(distance < 0, tf.int32) * num_buckets
        distance = tf.abs(distance)
    else:
        distance = tf.maximum(distance, 0)
    exact = num_buckets // 2
    # max(…, 1) keeps log(0) out; those distances take the exact branch.
    ratio = tf.cast(tf.maximum(distance, 1), tf.float32) / exact
    step = (num_buckets - exact) / math.log(max_distance / exact)
    far = exact + tf.cast(tf.math.log(ratio) * step, tf.int32)
    far = tf.minimum(far, num_buckets - 1)
    return bucket + tf.where(distance < exact, distance, far)
