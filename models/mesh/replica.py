"""The `replica` lowering: model parallelism inside `strategy.run`.

One replica is one processor of the mesh. It holds its slices of the weights
in variables of its own and computes on its slices of the activations; Mesh
TensorFlow's collectives are the strategy's. To its caller a replica looks as
under data parallelism: its rows come in, its rows go out. Inside, the rows of
all replicas are one batch, which every replica works on.

A gradient tape over a sum among replicas would count it once a replica, so
gradients are Mesh TensorFlow's own, inside a custom gradient. What this asks
for: static shapes, and no loop around it, because MirroredStrategy's
collectives cannot be traced inside one; generation therefore is refused.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from keras_prompt.models.layout import Layout
from keras_prompt.models.mesh import MeshTensor, PlacementMeshImpl, mtf
from keras_prompt.models.mesh.collectives import (
    gather_rows,
    grouped_sum,
    in_slot,
    own_rows,
    replica_number,
)
from keras_prompt.models.mesh.local import RelaxedLowering
from keras_prompt.models.mesh.sliced_variable import (
    SlicedVariable,
    mesh_and_rules,
)
from keras_prompt.types import FloatArray, Tensor


class ReplicaMeshImpl(mtf.MeshImpl):  # type: ignore[name-defined]
    """A mesh whose processors are replicas; each trace sees one slice."""

    LaidOutTensor = PlacementMeshImpl.LaidOutTensor

    def laid_out_pnum(self) -> Any:
        return self.LaidOutTensor([replica_number()])

    def slicewise(self, fn: Any, *inputs: Any) -> Any:
        laid_out = [
            x.to_laid_out_tensor().tensor_list[0]
            if hasattr(x, "to_laid_out_tensor")
            else x
            for x in inputs
        ]
        return self.LaidOutTensor([fn(*laid_out)])

    def allreduce(
        self, x: Any, mesh_axes: Sequence[int], reduction_fn_string: str
    ) -> Any:
        if reduction_fn_string != "SUM":
            raise NotImplementedError(reduction_fn_string)
        if not mesh_axes:
            return x
        groups = mtf.processor_groups(self.shape, mesh_axes)
        return self.slicewise(lambda slice_: grouped_sum(slice_, groups), x)

    def allconcat(self, x: Any, mesh_axis: int, concat_axis: int) -> Any:
        """Each part in its place among zeros, then the sum of all."""
        parts = self.shape[mesh_axis].size

        def spread(slice_: Tensor, place: Tensor) -> Tensor:
            shape = slice_.shape.as_list()
            shape[concat_axis] *= parts
            return tf.reshape(in_slot(slice_, place, parts, concat_axis), shape)

        spread_out = self.slicewise(spread, x, self.laid_out_pcoord(mesh_axis))
        return self.allreduce(spread_out, [mesh_axis], "SUM")

    def import_tf_tensor(self, x: MeshTensor, tf_x: Tensor) -> Any:
        if self.tensor_layout(x).is_fully_replicated:
            return self.LaidOutTensor([tf_x])
        begins = [self.slice_begin(x.shape, n) for n in range(self.size)]
        begin = tf.gather(tf.constant(begins), replica_number())
        size = self.slice_shape(x.shape)
        piece = tf.slice(tf_x, begin, size)
        return self.LaidOutTensor([tf.ensure_shape(piece, size)])

    def export_to_tf_tensor(self, x: MeshTensor, laid_out_x: Any) -> Tensor:
        layout = self.tensor_layout(x).mesh_axis_to_tensor_axis(self.ndims)
        for mesh_axis, tensor_axis in enumerate(layout):
            if tensor_axis is not None:
                laid_out_x = self.allconcat(laid_out_x, mesh_axis, tensor_axis)
        return laid_out_x.to_laid_out_tensor().tensor_list[0]


class Replica:
    """Lowers to one replica of a strategy.

    Args:
        layout: of a mesh of as many processors as there are replicas.
        strategy: in whose scope the model is made.

    Raises:
        ValueError: the strategy has another number of replicas, or several
            workers.
    """

    def __init__(
        self, layout: Layout, strategy: tf.distribute.Strategy
    ) -> None:
        count = strategy.num_replicas_in_sync
        if layout.device_count != count:
            raise ValueError(
                "`mesh_shape` must have as many devices as the strategy has "
                f"replicas, {count}. Received: a mesh of {layout.device_count}"
            )
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            raise ValueError(
                "A mesh over several workers has not been made to work: leave "
                "`mesh_shape` and `layout` out, and each replica holds the "
                "whole model."
            )
        self.layout = layout
        self._strategy = strategy

    def place(self, values: Sequence[FloatArray], dtype: str) -> tf.Variable:
        """Makes a variable of which every replica has a value of its own."""
        with self._strategy.scope():
            variable = tf.Variable(
                lambda: tf.zeros(values[0].shape, dtype),
                trainable=False,
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
        for mine, value in zip(self.slices(variable), values, strict=True):
            mine.assign(tf.cast(value, dtype))
        return variable

    def slices(self, resident: tf.Variable) -> list[tf.Variable]:
        """One variable a replica, of what `place` made."""
        return list(self._strategy.experimental_local_results(resident))

    def dimension(self, name: str, size: int | None) -> Any:
        """A named dimension, whose size must be known.

        Raises:
            ValueError: it is not.
        """
        if size is None:
            raise ValueError(
                f"The size of '{name}' is unknown when traced, but a mesh of "
                "replicas needs static shapes. Use make_dataset(..., "
                "static_shapes=True, drop_remainder=True)."
            )
        return mtf.Dimension(name, size)

    def read(self, variable: SlicedVariable, dtype: tf.DType) -> list[Tensor]:
        """This replica's slice."""
        self.check_inside()
        return [tf.cast(tf.convert_to_tensor(variable.resident), dtype)]

    def enter(self, tensor: Tensor, names: Sequence[str]) -> Tensor:
        """The rows of all replicas."""
        self.check_inside()
        if names[0] != "batch":
            return tensor
        for name, size in zip(names, tensor.shape, strict=True):
            self.dimension(name, size)
        return gather_rows(tensor)

    def lower(
        self,
        graph: Any,
        mesh: Any,
        entered: Sequence[tuple[Tensor, MeshTensor]],
        outputs: Mapping[str, MeshTensor],
    ) -> dict[str, Tensor]:
        """Runs a graph; `Local.lower` says more."""
        differentiable = [
            (tensor, imported)
            for tensor, imported in entered
            if imported.dtype.is_floating
            and imported.shape.dims[0].name == "batch"
        ]

        @tf.custom_gradient
        def run(*_: Tensor) -> tuple[list[Tensor], Any]:
            implementation = ReplicaMeshImpl(*mesh_and_rules(self.layout))
            lowering = RelaxedLowering(graph, mesh, implementation)
            forward = len(graph.operations)

            def gradient(*upstream: Tensor) -> list[Tensor]:
                results = list(outputs.values())
                found = mtf.gradients(
                    results,
                    [imported for _, imported in differentiable],
                    [
                        mtf.import_tf_tensor(mesh, gather_rows(dy), y.shape)
                        for dy, y in zip(upstream, results, strict=True)
                    ],
                )
                for operation in graph.operations[forward:]:
                    operation.lower(lowering)
                return [
                    tf.zeros_like(tensor)
                    if dx is None
                    else own_rows(lowering.export_to_tf_tensor(dx))
                    for (tensor, _), dx in zip(
                        differentiable, found, strict=True
                    )
                ]

            return [
                own_rows(lowering.export_to_tf_tensor(y))
                for y in outputs.values()
            ], gradient

        results = run(*[tensor for tensor, _ in differentiable])
        return dict(zip(outputs, results, strict=True))

    def check_inside(self) -> None:
        """Refuses to compute where there is but one processor.

        Raises:
            ValueError: this is not inside the strategy's `run`.
        """
        context = tf.distribute.get_replica_context()
        if context is None or context.strategy is not self._strategy:
            raise ValueError(
                "A model whose weights are split over a strategy's replicas "
                "computes inside strategy.run only: use fit, evaluate and "
                "predict. To generate, score or rank, export the prompt and "
                "load it into a model made without the strategy; "
                "`mesh_shape` splits that one too."
            )
