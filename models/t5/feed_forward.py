"""The feed-forward layer: gated GELU in T5 1.1, ReLU in T5 1.0."""

import tensorflow as tf

from keras_prompt.models.mesh import MeshTensor, mtf
from keras_prompt.models.mesh.operations import slicewise
from keras_prompt.models.t5.scope import Scope
from keras_prompt.types import Tensor

_ELEMENTWISE = ["batch", "length", "d_ff"]


def feed_forward(scope: Scope, x: MeshTensor, name: str) -> MeshTensor:
    """(batch, length, d_model) to the same, through d_ff.

    Args:
        scope: the graph under construction.
        x: (batch, length, d_model), normalised.
        name: scope name, "encoder/block_000/layer_001/DenseReluDense" for one.
    """

    def expand(kernel: str) -> MeshTensor:
        weight = scope.weight(f"{name}/{kernel}/kernel")
        return mtf.einsum([x, weight], reduced_dims=[scope.d_model])

    if scope.config.feed_forward == "gated-gelu":
        gate, hidden = expand("wi_0"), expand("wi_1")
        inputs = [gate, hidden]
        hidden = slicewise(
            _gated_gelu, inputs, hidden.shape.dims, splittable=_ELEMENTWISE
        )
    else:
        hidden = expand("wi")
        hidden = slicewise(
            tf.nn.relu, [hidden], hidden.shape.dims, splittable=_ELEMENTWISE
        )
    hidden = scope.dropout(hidden)
    weight = scope.weight(f"{name}/wo/kernel")
    return mtf.einsum([hidden, weight], reduced_dims=[scope.d_ff])


def _gated_gelu(gate: Tensor, hidden: Tensor) -> Tensor:
    """The tanh form of GELU, as Mesh-TF's T5 1.1 was trained with."""
    return tf.nn.gelu(gate, approximate=True) * hidden
