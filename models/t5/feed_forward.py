"""The feed-forward layer: gated GELU in T5 1.1, ReLU in T5 1.0."""

import tensorflow as tf

from keras_prompt.models.mesh import MeshTensor
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
    if scope.config.feed_forward == "gated-gelu":
        inputs = [
            scope.project(x, f"{name}/{gate}/kernel")
            for gate in ("wi_0", "wi_1")
        ]
        hidden = slicewise(
            scope.recomputed(_gated_gelu),
            inputs,
            inputs[0].shape.dims,
            splittable=_ELEMENTWISE,
        )
    else:
        hidden = scope.project(x, f"{name}/wi/kernel")
        hidden = slicewise(
            tf.nn.relu, [hidden], hidden.shape.dims, splittable=_ELEMENTWISE
        )
    hidden = scope.dropout(hidden)
    return scope.project(hidden, f"{name}/wo/kernel")


def _gated_gelu(gate: Tensor, hidden: Tensor) -> Tensor:
    """The tanh form of GELU, as Mesh-TF's T5 1.1 was trained with."""
    return tf.nn.gelu(gate, approximate=True) * hidden
