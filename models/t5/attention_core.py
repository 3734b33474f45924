"""What attention does between its projections, with a gradient of its own.

TensorFlow's gradient of the same few lines turns every tensor about for each
product and keeps the logits, and the sums on the way to them, as well.

Letters: B batch, L queries, M memory positions, H heads, K d_kv.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_prompt.types import Tensor


@tf.custom_gradient
def attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    mask_bias: Tensor,
    *position_bias: Tensor,
) -> tuple[Tensor, Callable[[Tensor], tuple[Any, ...]]]:
    """Softmax in float32 whatever the activations' type.

    Args:
        queries: (B, L, H, K).
        keys: (B, M, H, K).
        values: (B, M, H, K).
        mask_bias: float32, broadcasts to (B, L, M). Nothing is learnt by it:
            it gets no gradient.
        position_bias: float32 (H, L, M), or nothing.

    Returns:
        (B, L, H, K), of the queries' type.
    """
    dtype = queries.dtype
    queries, keys, values = map(_by_head, (queries, keys, values))
    logits = tf.matmul(queries, keys, transpose_b=True)
    logits = tf.cast(logits, tf.float32) + mask_bias[:, None]
    for bias in position_bias:
        logits += bias
    weights = tf.nn.softmax(logits)
    mixed = tf.matmul(tf.cast(weights, dtype), values)

    def gradient(upstream: Tensor) -> tuple[Any, ...]:
        upstream = _by_head(upstream)
        by_weight = tf.matmul(upstream, values, transpose_b=True)
        # Softmax subtracts what the weights give on average, which is the
        # same sum taken over K instead of M (Dao et al. 2022, appendix B.2).
        average = tf.reduce_sum(
            tf.cast(upstream, tf.float32) * tf.cast(mixed, tf.float32),
            axis=-1,
            keepdims=True,
        )
        by_logit = weights * (tf.cast(by_weight, tf.float32) - average)
        narrow = tf.cast(by_logit, dtype)
        return (
            _by_position(tf.matmul(narrow, keys)),
            _by_position(tf.matmul(narrow, queries, transpose_a=True)),
            _by_position(
                tf.matmul(tf.cast(weights, dtype), upstream, transpose_a=True)
            ),
            None,
            *(tf.reduce_sum(by_logit, axis=0) for _ in position_bias),
        )

    return _by_position(mixed), gradient


def _by_head(x: Tensor) -> Tensor:
    """(B, L, H, K) to (B, H, L, K), and back."""
    return tf.transpose(x, [0, 2, 1, 3])


_by_position = _by_head
