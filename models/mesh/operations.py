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
