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
    graph and copied to their slices each step. This one takes the slices as
    the caller read them from theirs and, when frozen, lets no gradient
    through, so that back propagation never computes one.
    """

    def __init__(
        self,
        mesh: Any,
        slices: Sequence[Tensor],
        shape: Any,
        name: str,
        is_frozen: bool,
    ) -> None:
        super().__init__([], mesh=mesh, name=name.replace("/", "_"))
        if is_frozen:
            slices = [tf.stop_gradient(piece) for piece in slices]
        self._slices = list(slices)
        self._outputs = [mtf.Tensor(self, shape, slices[0].dtype)]
        self._splittable_dims, self._unsplittable_dims = (
            self._initialize_all_dimensions_as_splittable()
        )

    def lower(self, lowering: Any) -> None:
        laid_out = lowering.mesh_impl(self).LaidOutTensor(self._slices)
        lowering.set_tensor_lowering(self.outputs[0], laid_out)


class EmbeddingLookup(mtf.Operation):  # type: ignore[name-defined]
    """Rows of a table, which may be cut along both of its dimensions.

    Where the rows are cut, each processor gives those it has and zeros for
    the others, and the sum over processors has all. It lets no gradient
    through.

    Args:
        table: (vocab, d_model), or (vocab,).
        token_ids: int32, (batch, length).
        dtype: of the result; a floating one, in which the sum is taken.
    """

    has_gradient = False

    def __init__(
        self, table: MeshTensor, token_ids: MeshTensor, dtype: tf.DType
    ) -> None:
        super().__init__([table, token_ids], name="embedding_lookup")
        self._vocab, *width = table.shape.dims
        shape = mtf.Shape([*token_ids.shape.dims, *width])
        self._outputs = [mtf.Tensor(self, shape, dtype)]
        self._splittable_dims, self._unsplittable_dims = (
            self._initialize_all_dimensions_as_splittable()
        )

    def lower(self, lowering: Any) -> None:
        table, token_ids = (lowering.tensors[x] for x in self.inputs)
        implementation = lowering.mesh_impl(self)
        axis = implementation.tensor_dimension_to_mesh_axis(self._vocab)
        dtype = self.outputs[0].dtype
        if axis is None:
            found = implementation.slicewise(
                lambda table, ids: tf.cast(tf.gather(table, ids), dtype),
                table,
                token_ids,
            )
        else:
            rows = self._vocab.size // implementation.shape[axis].size
            place = implementation.laid_out_pcoord(axis)
            found = implementation.slicewise(
                _look_up_own_rows, table, token_ids, place, rows, dtype
            )
            found = implementation.allreduce(found, [axis], "SUM")
        lowering.set_tensor_lowering(self.outputs[0], found)


def _look_up_own_rows(
    table: Tensor, token_ids: Tensor, place: Tensor, rows: int, dtype: tf.DType
) -> Tensor:
    own = token_ids - place * rows
    is_own = (own >= 0) & (own < rows)
    found = tf.cast(tf.gather(table, tf.where(is_own, own, 0)), dtype)
    if table.shape.rank == 2:
        is_own = is_own[..., None]
    return tf.where(is_own, found, tf.zeros([], dtype))


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
    operation = _Slicewise(
        function,
        list(inputs),
        [mtf.Shape(list(output_dimensions))],
        [dtype or inputs[0].dtype],
        list(splittable_dims.values()),
    )
    return operation.outputs[0]


class _Slicewise(mtf.SlicewiseOperation):  # type: ignore[name-defined]
    """Mesh TensorFlow's, with a gradient that is right on any layout."""

    def gradient(self, grad_ys: Sequence[MeshTensor]) -> list[MeshTensor]:
        return _SlicewiseGradient(self, grad_ys).outputs


class _SlicewiseGradient(mtf.GenericGradOperation):  # type: ignore[name-defined]
    """TensorFlow's gradient of a function of slices.

    Mesh TensorFlow's own differs in three ways. It takes no sum that is still
    to be made. It leaves one out: where the result is cut along a dimension
    that an input does not have, each processor finds a part of that input's
    gradient. And it counts twice what one input owes to another.
    """

    def lower(self, lowering: Any) -> None:
        implementation = lowering.mesh_impl(self)
        forward = self._forward_op

        def slices(tensors: Sequence[MeshTensor]) -> list[list[Tensor]]:
            laid_out = [lowering.tensors[x] for x in tensors]
            lists = [x.to_laid_out_tensor().tensor_list for x in laid_out]
            return [list(column) for column in zip(*lists, strict=True)]

        gradients = [
            tf.gradients(
                ys,
                xs,
                dys,
                stop_gradients=xs,
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
            for ys, xs, dys in zip(
                slices(forward.outputs),
                slices(forward.inputs),
                slices(self._grad_ys),
                strict=True,
            )
        ]
        (result,) = forward.outputs
        result_axes = _mesh_axes(implementation, result)
        for index, output in enumerate(self.outputs):
            found = implementation.LaidOutTensor(
                [column[index] for column in gradients]
            )
            partial = result_axes - _mesh_axes(implementation, output)
            if partial:
                found = mtf.ops.LazyAllreduceSum(
                    implementation, found, sorted(partial)
                )
            lowering.set_tensor_lowering(output, found)


def _mesh_axes(implementation: Any, tensor: MeshTensor) -> set[int]:
    """The axes of the mesh that a tensor is cut along."""
    layout = implementation.tensor_layout(tensor).tensor_axis_to_mesh_axis
    return {axis for axis in layout if axis is not None}


def rename_dimension(x: MeshTensor, old: str, new: str) -> MeshTensor:
    """`mtf.rename_dimension` without the static reshape that it emits."""
    dimensions = [
        mtf.Dimension(new, d.size) if d.name == old else d for d in x.shape.dims
    ]
    kept = [d.name for d in x.shape.dims if d.name != old]
    return slicewise(tf.identity, [x], dimensions, splittable=kept)
