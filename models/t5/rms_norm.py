"""T5's layer norm: divides by the root mean square, subtracts no mean."""

import tensorflow as tf

from keras_prompt.models.mesh import MeshTensor, mtf
from keras_prompt.models.mesh.operations import slicewise
from keras_prompt.models.t5.scope import Scope
from keras_prompt.types import Tensor

_ELEMENTWISE = ["batch", "length", "d_model"]


def rms_norm(scope: Scope, x: MeshTensor, name: str) -> MeshTensor:
    """Normalises the width of (batch, length, d_model), in float32.

    Args:
        scope: the graph under construction.
        x: (batch, length, d_model).
        name: scope name of the norm, "encoder/final_layer_norm" for one.
    """
    epsilon = scope.config.layer_norm_epsilon
    width = scope.config.d_model
    wide = slicewise(
        lambda slice_: tf.cast(slice_, tf.float32),
        [x],
        x.shape.dims,
        splittable=_ELEMENTWISE,
        dtype=tf.float32,
    )
    # Mesh TensorFlow sums over the devices that d_model is cut across.
    square_sum = mtf.einsum([wide, wide], reduced_dims=[scope.d_model])

    def normalise(wide: Tensor, square_sum: Tensor, scale: Tensor) -> Tensor:
        mean_square = square_sum[..., None] / width
        normalised = wide * tf.math.rsqrt(mean_square + epsilon)
        return tf.cast(normalised, scale.dtype) * scale

    scale = scope.weight(f"{name}/scale")
    return slicewise(
        normalise,
        [wide, square_sum, scale],
        x.shape.dims,
        splittable=_ELEMENTWISE,
        dtype=scale.dtype,
    )
