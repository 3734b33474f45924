"""Hugging Face's names and layouts of a T5's weights.

Kernels are stored as (out, in), with heads and head width in one axis; ours
are (in, out), with them apart.
"""

import re

from keras_prompt.types import FloatArray

TABLE, HEAD = "shared.weight", "lm_head.weight"

# Copies of the table that some folders hold, and one weight that early
# versions created and never used.
TABLE_COPY = re.compile(r"(encoder|decoder)\.embed_tokens\.weight")
NEVER_USED = re.compile(
    r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias"
    r"\.weight"
)


def key_of(name: str) -> str:
    """Hugging Face's name of a Mesh-TF name.

    >>> key_of("encoder/block_000/layer_001/DenseReluDense/wi_0/kernel")
    'encoder.block.0.layer.1.DenseReluDense.wi_0.weight'
    """
    if name == "shared/embedding":
        return TABLE
    if name == "decoder/logits/kernel":
        return HEAD
    key = re.sub(r"(block|layer)_(\d+)", lambda m: f"{m[1]}.{int(m[2])}", name)
    key = re.sub(r"/(scale|kernel)$", "", key)
    return key.replace("/", ".") + ".weight"


def is_transposed(name: str) -> bool:
    """Whether rows and columns change places; a scale has but one axis."""
    return name != "shared/embedding"


def stored_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape on disk of a weight of our shape."""
    if not is_transposed(name):
        return shape
    if len(shape) < 3:
        return shape[::-1]
    if name.endswith("/o"):  # (heads, d_kv, d_model)
        return (shape[2], shape[0] * shape[1])
    return (shape[1] * shape[2], shape[0])  # of (d_model, heads, d_kv)


def to_stored(name: str, value: FloatArray) -> FloatArray:
    """A weight in the layout on disk; may share memory with `value`."""
    shape = stored_shape(name, value.shape)
    return value.reshape(shape[::-1]).T if is_transposed(name) else value
