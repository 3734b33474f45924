"""T5's relative positions: buckets of distances, and the bias they look up."""

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
    bounds = tf.constant(_bounds(num_buckets, max_distance), tf.int32)
    passed = tf.searchsorted(bounds, tf.reshape(distance, [-1]), side="right")
    return bucket + tf.reshape(passed, tf.shape(distance))


def _bounds(num_buckets: int, max_distance: int) -> list[int]:
    """The least distance of every bucket of one direction but the first.

    With E buckets of one distance each and F others, bucket E + k begins where
    E * (max_distance / E) ** (k / F) does: at the least whole number whose
    F-th power is E ** (F - k) * max_distance ** k or more. In whole numbers,
    as three of T5's own bounds, 16, 32 and 64, lie on that curve, where a
    device's rounding would decide.
    """
    exact = num_buckets // 2
    others = num_buckets - exact
    bounds = list(range(1, exact + 1))
    for k in range(1, others):
        below = int(exact * (max_distance / exact) ** (k / others))
        power = exact ** (others - k) * max_distance**k
        bounds.append(below + (below**others < power))
    return bounds
