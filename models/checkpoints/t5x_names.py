"""T5X's names of a T5's weights, and the sizes that their shapes tell."""

import re
from collections.abc import Mapping
from pathlib import Path

from keras_prompt.models.checkpoints.checkpoint import count_layers
from keras_prompt.models.t5.config import T5Config

_PROJECTIONS = {"q": "query", "k": "key", "v": "value", "o": "out"}
_WEIGHT = re.compile(r"(encoder|decoder)/block_(\d+)/layer_(\d+)/(.+)")


def key_of(name: str) -> str:
    """T5X's key of a Mesh-TF name.

    >>> key_of("decoder/block_001/layer_001/EncDecAttention/o")
    'decoder/layers_1/encoder_decoder_attention/out/kernel'
    """
    match = _WEIGHT.fullmatch(name)
    if match is None:
        return {
            "shared/embedding": "token_embedder/embedding",
            "encoder/final_layer_norm/scale": "encoder/encoder_norm/scale",
            "decoder/final_layer_norm/scale": "decoder/decoder_norm/scale",
            "decoder/logits/kernel": "decoder/logits_dense/kernel",
        }[name]
    stack, block, layer, rest = match.groups()
    at = f"{stack}/layers_{int(block)}"
    attentions = ["attention"]
    if stack == "decoder":
        attentions = ["self_attention", "encoder_decoder_attention"]
    norms = ["attention"]
    if stack == "decoder":
        norms = ["self_attention", "cross_attention"]
    if rest == "layer_norm/scale":
        return f"{at}/pre_{[*norms, 'mlp'][int(layer)]}_layer_norm/scale"
    if rest.startswith("DenseReluDense/"):
        return f"{at}/mlp/{rest.removeprefix('DenseReluDense/')}"
    if rest.endswith("/relative_attention_bias"):
        return f"{stack}/relpos_bias/rel_embedding"
    projection = _PROJECTIONS[rest.split("/")[1]]
    return f"{at}/{attentions[int(layer)]}/{projection}/kernel"


def sizes(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> T5Config:
    """The configuration that the arrays' shapes tell.

    Args:
        path: named in errors.
        shapes: by T5X's key.

    Raises:
        ValueError: one of the arrays that tell it is absent, or their shapes
            are no T5's.
    """

    def matrix(key: str) -> tuple[int, ...]:
        if len(shapes.get(key, ())) != 2:
            raise ValueError(
                f"{path} must have a weight '{key}' of two dimensions. "
                f"Received: {shapes.get(key)}"
            )
        return shapes[key]

    vocab_size, d_model = matrix("token_embedder/embedding")
    heads, buckets = matrix("encoder/relpos_bias/rel_embedding")
    _, inner = matrix("encoder/layers_0/attention/query/kernel")
    is_gated = "encoder/layers_0/mlp/wi_0/kernel" in shapes
    gate = "wi_0" if is_gated else "wi"
    _, d_ff = matrix(f"encoder/layers_0/mlp/{gate}/kernel")
    if inner % heads:
        raise ValueError(
            f"{path}: query kernels are {inner} wide, which {heads} heads do "
            "not divide."
        )
    return T5Config(
        vocab_size=vocab_size,
        d_model=d_model,
        d_kv=inner // heads,
        d_ff=d_ff,
        num_heads=heads,
        num_encoder_layers=count_layers(shapes, "encoder/layers_"),
        num_decoder_layers=count_layers(shapes, "decoder/layers_"),
        feed_forward="gated-gelu" if is_gated else "relu",
        is_tied="decoder/logits_dense/kernel" not in shapes,
        num_buckets=buckets,
    )
