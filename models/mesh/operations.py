"""Mesh TensorFlow operations of our own: weights, renaming, slice-wise calls.

Each computes on the slices a processor holds, so it serves any lowering; the
dimensions that may be cut across processors are named at every call.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_prompt.models.mesh import MeshTensor, mtf
from keras_prompt.types import Tensor


class ResidentWeight(mtf.Operation):  # type: ignore[name-defined]
    """A weight that already lies where it is used, entering the graph.

    Mesh TensorFlow's own variables belong to sessions: they are created by the
    graph and copied to their slices each step. This one reads a `tf.Variable`
    of the caller and, when frozen, lets no gradient through, so that back
    propagation never computes one.
    """

    def __init__(
        self,
        mesh: Any,
        value: Tensor,
        shape: Any,
        name: str,
        is_frozen: bool,
    ) -> None:
        super().__init__([], mesh=mesh, name=name.replace("/", "_"))
        self._value = tf.stop_gradient(value) if is_frozen else value
        self._outputs = [mtf.Tensor(self, shape, value.dtype)]
        self._splittable_dims, self._unsplittable_dims = (
            self._initialize_all_dimensions_as_splittable()
        )

    def lower(self, lowering: Any) -> None:
        implementation = lowering.mesh_impl(self)
        lowering.set_tensor_lowering(
            self.outputs[0],
            implementation.import_tf_tensor(self.outputs[0], self._value),
        )


def slicewise(
    function: Callable[..., Tensor],
    inputs: Sequence[MeshTensor],
    output_dimensions: Sequence[Any],
    splittable: Sequence[str],
    dtype: tf.DType | None = None,
) -> MeshTensor:
    """Applies a TensorFlow function to the slices each processor holds.

    Args:
        function: tensors of the inputs' slices to the slice of the output.
        inputs: Mesh TensorFlow tensors.
        output_dimensions: of the result.
        splittable: names of the dimensions along which the function may be
            applied piece by piece with the same result.
        dtype: of the result. Defaults to the first input's.
    """
    splittable_dims = {
        d.name: d
        for tensor in (*inputs, output_dimensions)
        for d in getattr(tensor, "shape", tensor)
        if d.name in splittable
    }
    return mtf.slicewise(
        function,
        list(inputs),
        output_shape=mtf.Shape(list(output_dimensions)),
        output_dtype=dtype or inputs[0].dtype,
        splittable_dims=list(splittable_dims.values()),
    )


def rename_dimension(x: MeshTensor, old: str, new: str) -> MeshTensor:
    """`mtf.rename_dimension` without the static reshape that it emits."""
    dimensions = [
        mtf.Dimension(new, d.size) if d.name == old else d for d in x.shape.dims
    ]
    kept = [d.name for d in x.shape.dims if d.name != old]
    return slicewise(tf.identity, [x], dimensions, splittable=kept)
