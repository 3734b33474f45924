"""The `local` lowering: a mesh of one, whose shapes may be dynamic.

Mesh TensorFlow wants every dimension's size as an integer when its graph is
built. Sizes that are known only at run time get a nominal integer instead;
with one processor no tensor is ever cut by it, and what is imported passes
through unreshaped, so the nominal size never reaches TensorFlow.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_prompt.models.layout import Layout
from keras_prompt.models.mesh import MeshTensor, PlacementMeshImpl, mtf
from keras_prompt.types import Tensor

# Told to Mesh TensorFlow for dimensions unknown while tracing. Distinct large
# primes: two dimensions mixed up by mistake cannot agree by chance.
NOMINAL_SIZES: Mapping[str, int] = {
    "batch": 7919,
    "length": 7907,
    "memory_length": 7901,
}


class LocalMeshImpl(PlacementMeshImpl):
    """A mesh of one: tensors pass in and out as they are."""

    def __init__(self) -> None:
        super().__init__(
            mtf.convert_to_shape(""), mtf.convert_to_layout_rules(""), [""]
        )

    def import_tf_tensor(self, x: MeshTensor, tf_x: Tensor) -> Any:
        return self.LaidOutTensor([tf_x])

    def export_to_tf_tensor(self, x: MeshTensor, laid_out_x: Any) -> Tensor:
        return laid_out_x.to_laid_out_tensor().tensor_list[0]


class RelaxedLowering(mtf.Lowering):  # type: ignore[name-defined]
    """Lowers a graph whose dimensions may have nominal sizes."""

    def __init__(self, graph: Any, mesh: Any, implementation: Any) -> None:
        # Autostacking rewrites Mesh TensorFlow's own variables; ours are not.
        super().__init__(graph, {mesh: implementation}, autostack=False)

    def verify_slice_shapes(
        self, tensor: MeshTensor, laid_out_tensor: Any
    ) -> None:
        """Checks ranks and those sizes that are no nominal ones."""
        expected = tf.TensorShape(
            [
                None if size in NOMINAL_SIZES.values() else size
                for size in self.mesh_impl(tensor).slice_shape(tensor.shape)
            ]
        )
        shape = laid_out_tensor.slice_shape
        if not expected.is_compatible_with(shape):
            raise ValueError(
                f"{tensor} was lowered to slices of shape {shape}; "
                f"its dimensions say {expected}."
            )


class Local:
    """Lowers to the tensors of one device."""

    layout = Layout()

    def dimension(self, name: str, size: int | None) -> Any:
        """A named dimension; `None` is a size known only at run time."""
        return mtf.Dimension(name, size or NOMINAL_SIZES[name])

    def read(self, variable: keras.Variable, dtype: tf.DType) -> list[Tensor]:
        """A weight's slices, one a processor that this trace computes for."""
        return [tf.cast(variable.value, dtype)]

    def enter(self, tensor: Tensor, names: Sequence[str]) -> Tensor:
        """What is imported of a tensor of the caller's."""
        return tensor

    def lower(
        self,
        graph: Any,
        mesh: Any,
        entered: Sequence[tuple[Tensor, MeshTensor]],
        outputs: Mapping[str, MeshTensor],
    ) -> dict[str, Tensor]:
        """Runs a graph and hands back whole tensors of the caller's rows.

        Args:
            graph: of Mesh TensorFlow.
            mesh: of that graph.
            entered: what came in and what it was imported as.
            outputs: to hand back.
        """
        lowering = RelaxedLowering(graph, mesh, LocalMeshImpl())
        return {
            name: lowering.export_to_tf_tensor(tensor)
            for name, tensor in outputs.items()
        }
