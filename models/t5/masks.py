"""Which position may look at which, as numbers added to attention logits.

B batch, L queries, M memory positions. Every bias is float32 and broadcasts
to (B, L, M): 0 where looking is allowed, a large negative number elsewhere.
"""

import tensorflow as tf

from keras_prompt.types import Tensor

# Mesh-TF's value. Finite, so that a row with nothing to see stays a number.
_HIDDEN = -1e9


def padding_mask_bias(padding_mask: Tensor) -> Tensor:
    """Hides padding: bool (B, M), True where real, to (B, 1, M)."""
    return _bias(padding_mask)[:, None, :]


def segment_bias(query_segments: Tensor, memory_segments: Tensor) -> Tensor:
    """Hides other examples packed into the same row, and padding (0).

    Args:
        query_segments: int32 (B, L), an example's number from 1.
        memory_segments: int32 (B, M).

    Returns:
        float32 (B, L, M).
    """
    same = query_segments[:, :, None] == memory_segments[:, None, :]
    return _bias(same & (memory_segments > 0)[:, None, :])


def causal_bias(query_positions: Tensor, memory_positions: Tensor) -> Tensor:
    """Hides what comes later: int32 (L,), (M,) to (1, L, M)."""
    return _bias(query_positions[:, None] >= memory_positions[None, :])[None]


def _bias(is_visible: Tensor) -> Tensor:
    return (1.0 - tf.cast(is_visible, tf.float32)) * _HIDDEN
