"""T5's layer norm: divides by the root mean square, subtracts no mean."""

import tensorflow as tf

from keras_prompt.models.mesh import MeshTensor
from keras_prompt.models.mesh.operations import slicewise
from keras_prompt.models.t5.scope import Scope
from keras_prompt.types import Tensor


def rms_norm(scope: Scope, x: MeshTensor, name: str) -> MeshTensor:
    """Normalises the width of (batch, length, d_model), in float32.

    Args:
        scope: the graph under construction.
        x: (batch, length, d_model).
        name: scope name of the norm, "encoder/final_layer_norm" for one.
    """
    epsilon = scope.config.layer_norm_epsilon

    def normalise(slice_: Tensor, scale: Tensor) -> Tensor:
        wide = tf.cast(slice_, tf.float32)
        mean_square = tf.reduce_mean(tf.square(wide), axis=-1, keepdims=True)
        normalised = wide * tf.math.rsqrt(mean_square + epsilon)
        return tf.cast(normalised, slice_.dtype) * scale

    scale = scope.weight(f"{name}/scale")
    return slicewise(
        normalise, [x, scale], x.shape.dims, splittable=["batch", "length"]
    )
