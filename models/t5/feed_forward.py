"""The feed-forward layer: gated GELU in T5 1.1, ReLU in T5 1.0."""

import math
from collections.abc import Callable

import tensorflow as tf

from keras_prompt.models.mesh import MeshTensor
from keras_prompt.models.mesh.operations import slicewise
from keras_prompt.models.t5.scope import Scope
from keras_prompt.types import Tensor

_ELEMENTWISE = ["batch", "length", "d_ff"]
# Hendrycks and Gimpel 2016: u = sqrt(2 / pi) * (x + 0.044715 x**3).
_LINEAR = 2 * math.sqrt(2 / math.pi)
_CUBIC = _LINEAR * 0.044715


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


@tf.custom_gradient
def _gated_gelu(
    gate: Tensor, hidden: Tensor
) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
    """The tanh form of GELU, as Mesh-TF's T5 1.1 was trained with.

    (1 + tanh(u)) / 2 is sigmoid(2 u). Written out, because TensorFlow's own
    raises to the third power by `pow`, slow unless Grappler rewrites it, and
    keeps every intermediate result for the gradient; this keeps one.
    """
    share = tf.sigmoid(gate * (_LINEAR + _CUBIC * tf.square(gate)))

    def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
        slope = gate * (_LINEAR + 3 * _CUBIC * tf.square(gate))
        # The gradient of sigmoid, slope * share * (1 - share), in one pass.
        slope = share + tf.raw_ops.SigmoidGrad(y=share, dy=slope)
        return upstream * hidden * slope, upstream * gate * share

    return gate * share * hidden, gradient
