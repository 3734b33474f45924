"""The sizes and choices that make one T5 differ from another."""

import dataclasses
from typing import Literal

from keras_prompt.arguments import check_integers

_POSITIVE = (
    "vocab_size",
    "d_model",
    "d_kv",
    "d_ff",
    "num_heads",
    "num_encoder_layers",
    "num_decoder_layers",
    "num_buckets",
    "max_distance",
)


@dataclasses.dataclass(frozen=True)
class T5Config:
    """An encoder-decoder of Raffel et al. 2020, version 1.0 or 1.1.

    Attributes:
        vocab_size: V, rows of the embedding table, padding rows included.
        d_model: D, width of the residual stream.
        d_kv: width of one attention head; need not be `d_model / num_heads`.
        d_ff: width of the feed-forward layer.
        num_heads: attention heads, in encoder and decoder.
        num_encoder_layers: blocks of the encoder.
        num_decoder_layers: blocks of the decoder; may differ.
        feed_forward: "gated-gelu" (T5 1.1) or "relu" (T5 1.0).
        is_tied: whether the output layer is the embedding table, the
            decoder's output then scaled by `d_model ** -0.5` (T5 1.0).
        num_buckets: relative position buckets of each stack (T5: 32).
        max_distance: positions farther apart share a bucket (T5: 128).
        layer_norm_epsilon: added to the mean square (Mesh-TF: 1e-6).
    """

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_heads: int
    num_encoder_layers: int
    num_decoder_layers: int
    feed_forward: Literal["gated-gelu", "relu"] = "gated-gelu"
    is_tied: bool = False
    num_buckets: int = 32
    max_distance: int = 128
    layer_norm_epsilon: float = 1e-6

    def __post_init__(self) -> None:
        for field in _POSITIVE:
            value = getattr(self, field)
            check_integers(**{field: (value, 1)})
            # NumPy's too, which config.json could not hold.
            object.__setattr__(self, field, int(value))
        # The encoder has half of the buckets for each side, and half of those
        # for single distances; the others must have some left to share.
        if self.num_buckets < 4:
            raise ValueError(
                "`num_buckets` must be at least 4. "
                f"Received: num_buckets={self.num_buckets}"
            )
        if self.max_distance <= self.num_buckets // 2:
            raise ValueError(
                "`max_distance` must be above half of num_buckets="
                f"{self.num_buckets}. "
                f"Received: max_distance={self.max_distance}"
            )
        epsilon = self.layer_norm_epsilon
        if not isinstance(epsilon, float | int) or not epsilon > 0:
            raise ValueError(
                "`layer_norm_epsilon` must be positive. "
                f"Received: layer_norm_epsilon={epsilon!r}"
            )
        if self.feed_forward not in ("gated-gelu", "relu"):
            raise ValueError(
                "`feed_forward` must be 'gated-gelu' (T5 1.1) or 'relu' "
                f"(T5 1.0). Received: feed_forward={self.feed_forward!r}"
            )
