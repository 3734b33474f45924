"""The table of a T5's weights: Mesh-TF's name and dimensions of every one.

The names are those of the published Mesh TensorFlow checkpoints. Attention
kernels, two-dimensional there, have `heads` and `d_kv` apart here, because a
layout may split the heads.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from keras_prompt.models.t5.config import T5Config

if TYPE_CHECKING:  # a plan is made without TensorFlow, which it imports
    from keras_prompt.types import FloatArray

Dimensions = tuple[tuple[str, int], ...]
TABLE = "shared/embedding"  # of the input; where it is tied, the output's too


def weight_table(config: T5Config) -> dict[str, Dimensions]:
    """Every weight's dimensions by its Mesh-TF name, in a fixed order."""
    return dict(_rows(config))


def dimension_sizes(config: T5Config) -> dict[str, int]:
    """The size of every dimension of the weights, by its name."""
    return {
        name: size
        for dimensions in weight_table(config).values()
        for name, size in dimensions
    }


def parameter_count(config: T5Config) -> int:
    """How many numbers all weights hold together."""
    return sum(
        int(np.prod([size for _, size in dimensions], dtype=np.int64))
        for dimensions in weight_table(config).values()
    )


def _rows(config: T5Config) -> Iterator[tuple[str, Dimensions]]:
    vocab, d_model = ("vocab", config.vocab_size), ("d_model", config.d_model)
    yield TABLE, (vocab, d_model)
    for stack, num_layers in (
        ("encoder", config.num_encoder_layers),
        ("decoder", config.num_decoder_layers),
    ):
        for block in range(num_layers):
            yield from _block_rows(config, stack, block)
        yield f"{stack}/final_layer_norm/scale", (d_model,)
    if not config.is_tied:
        yield "decoder/logits/kernel", (d_model, vocab)


def _block_rows(
    config: T5Config, stack: str, block: int
) -> Iterator[tuple[str, Dimensions]]:
    d_model, d_ff = ("d_model", config.d_model), ("d_ff", config.d_ff)
    heads, d_kv = ("heads", config.num_heads), ("d_kv", config.d_kv)
    kinds = ["SelfAttention"]
    if stack == "decoder":
        kinds.append("EncDecAttention")
    name = f"{stack}/block_{block:03d}"
    for index, kind in enumerate(kinds):
        yield f"{name}/layer_{index:03d}/layer_norm/scale", (d_model,)
        at = f"{name}/layer_{index:03d}/{kind}"
        for projection in "qkv":
            yield f"{at}/{projection}", (d_model, heads, d_kv)
        yield f"{at}/o", (heads, d_kv, d_model)
        if block == 0 and kind == "SelfAttention":
            buckets = ("buckets", config.num_buckets)
            yield f"{at}/relative_attention_bias", (heads, buckets)
    last = f"{name}/layer_{len(kinds):03d}"
    yield f"{last}/layer_norm/scale", (d_model,)
    gates = ("wi_0", "wi_1") if config.feed_forward == "gated-gelu" else ("wi",)
    for gate in gates:
        yield f"{last}/DenseReluDense/{gate}/kernel", (d_model, d_ff)
    yield f"{last}/DenseReluDense/wo/kernel", (d_ff, d_model)


def initial_weight(
    name: str, dimensions: Dimensions, rng: np.random.Generator
) -> "FloatArray":
    """A random start for pre-training, float32.

    Normal with the standard deviations of Mesh TensorFlow's T5: embeddings 1,
    a kernel the inverse root of its fan-in, `q` also divided by the root of
    `d_kv` because T5's attention does not scale its logits; norms are ones.
    That of relative position biases is ours, the inverse root of `buckets`;
    Mesh TensorFlow's, TensorFlow's default, is root(2 / (heads + buckets)).
    """
    sizes = dict(dimensions)
    shape = tuple(sizes.values())
    if name.endswith("/scale"):
        return np.ones(shape, np.float32)
    if name.endswith("relative_attention_bias"):
        fan_in = sizes["buckets"]
    elif name.endswith("/o"):
        fan_in = sizes["heads"] * sizes["d_kv"]
    elif name.endswith("/wo/kernel"):
        fan_in = sizes["d_ff"]
    elif name.endswith("/q"):
        fan_in = sizes["d_model"] * sizes["d_kv"]
    else:
        fan_in = 1 if name == TABLE else sizes["d_model"]
    deviation = np.float32(fan_in**-0.5)
    return rng.standard_normal(shape, np.float32) * deviation
