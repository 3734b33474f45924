"""Encoder and decoder: the blocks of a T5, in Mesh TensorFlow's dimensions.

One definition serves training, scoring and generation token by token; the
last differs only in which keys and values `remember` hands to a decoder's
self-attention.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from keras_prompt.models.mesh import MeshTensor
from keras_prompt.models.mesh.operations import slicewise
from keras_prompt.models.t5.attention import (
    KeysValues,
    attention,
    project_memory,
)
from keras_prompt.models.t5.feed_forward import feed_forward
from keras_prompt.models.t5.rms_norm import rms_norm
from keras_prompt.models.t5.scope import Scope
from keras_prompt.models.t5.variables import TABLE
from keras_prompt.types import Tensor

Remember = Callable[[int, KeysValues], KeysValues]


def encoder(
    scope: Scope,
    x: MeshTensor,
    mask_bias: MeshTensor,
    position_bias: MeshTensor,
) -> MeshTensor:
    """Runs the encoder.

    Args:
        scope: the graph under construction.
        x: (batch, length, d_model), embedded input, prompt in front.
        mask_bias: float32, hides padding.
        position_bias: float32 (heads, length, memory_length).

    Returns:
        (batch, length, d_model), normalised.
    """
    x = scope.dropout(x)
    for block in range(scope.config.num_encoder_layers):
        name = f"encoder/block_{block:03d}"
        normed = rms_norm(scope, x, f"{name}/layer_000/layer_norm")
        at = f"{name}/layer_000/SelfAttention"
        memory = project_memory(scope, normed, at)
        x += scope.dropout(
            attention(scope, normed, memory, at, mask_bias, position_bias)
        )
        x += _feed_forward_layer(scope, x, f"{name}/layer_001")
    x = rms_norm(scope, x, "encoder/final_layer_norm")
    return scope.dropout(x)


def project_encoded(scope: Scope, encoded: MeshTensor) -> list[KeysValues]:
    """Every decoder block's keys and values of the encoder's output."""
    return [
        project_memory(
            scope,
            encoded,
            f"decoder/block_{block:03d}/layer_001/EncDecAttention",
        )
        for block in range(scope.config.num_decoder_layers)
    ]


def decoder(
    scope: Scope,
    x: MeshTensor,
    encoded: Sequence[KeysValues],
    encoded_bias: MeshTensor,
    self_bias: MeshTensor,
    position_bias: MeshTensor,
    remember: Remember = lambda _, present: present,
) -> MeshTensor:
    """Runs the decoder.

    Args:
        scope: the graph under construction.
        x: (batch, length, d_model), embedded target tokens.
        encoded: from `project_encoded`, one a block.
        encoded_bias: float32, hides the encoder's padding.
        self_bias: float32, hides later targets.
        position_bias: float32 (heads, length, memory_length).
        remember: given a block and the present keys and values, returns those
            that its self-attention looks at: a cache, when there is one.

    Returns:
        (batch, length, d_model), normalised.
    """
    x = scope.dropout(x)
    for block in range(scope.config.num_decoder_layers):
        name = f"decoder/block_{block:03d}"
        normed = rms_norm(scope, x, f"{name}/layer_000/layer_norm")
        at = f"{name}/layer_000/SelfAttention"
        memory = remember(block, project_memory(scope, normed, at))
        x += scope.dropout(
            attention(scope, normed, memory, at, self_bias, position_bias)
        )
        normed = rms_norm(scope, x, f"{name}/layer_001/layer_norm")
        at = f"{name}/layer_001/EncDecAttention"
        x += scope.dropout(
            attention(scope, normed, encoded[block], at, encoded_bias)
        )
        x += _feed_forward_layer(scope, x, f"{name}/layer_002")
    x = rms_norm(scope, x, "decoder/final_layer_norm")
    return scope.dropout(x)


def vocabulary_logits(scope: Scope, x: MeshTensor) -> MeshTensor:
    """The decoder's output to (batch, length, vocab), in float32 throughout.

    A tied output layer is the embedding table, its input scaled by
    `d_model ** -0.5` (T5 1.0; Mesh-TF `shared_embedding_and_softmax_weights`).
    """
    factor = scope.config.d_model**-0.5 if scope.config.is_tied else 1.0

    def widen(slice_: Tensor) -> Tensor:
        return tf.cast(slice_, tf.float32) * factor

    x = slicewise(
        widen,
        [x],
        x.shape.dims,
        splittable=["batch", "length", "d_model"],
        dtype=tf.float32,
    )
    name = TABLE if scope.config.is_tied else "decoder/logits/kernel"
    return scope.project(x, name)


def _feed_forward_layer(scope: Scope, x: MeshTensor, layer: str) -> MeshTensor:
    normed = rms_norm(scope, x, f"{layer}/layer_norm")
    return scope.dropout(feed_forward(scope, normed, f"{layer}/DenseReluDense"))
