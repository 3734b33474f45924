"""The `local` lowering: a mesh of one, whose shapes may be dynamic.

Mesh TensorFlow wants every dimension's size as an integer when its graph is
built. Sizes that are known only at run time get a nominal integer instead;
with one processor no tensor is ever cut by it, and what is imported passes
through unreshaped, so the nominal size never reaches TensorFlow.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_prompt.models.mesh import MeshTensor, PlacementMeshImpl, mtf
from keras_prompt.types import Tensor

# Told to Mesh TensorFlow for dimensions unknown while tracing. Distinct large
# primes: two dimensions mixed up by mistake cannot agree by chance.
_NOMINAL_SIZES: Mapping[str, int] = {
    "batch": 7919,
    "length": 7907,
    "memory_length": 7901,
}


def dimension(name: str, size: int | None) -> Any:
    """A named dimension; `None` stands for a size known only at run time."""
    return mtf.Dimension(name, size or _NOMINAL_SIZES[name])


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


class LocalLowering(mtf.Lowering):  # type: ignore[name-defined]
    """Lowers a graph whose dimensions may have nominal sizes."""

    def __init__(self, graph: Any, mesh: Any) -> None:
        # Autostacking rewrites Mesh TensorFlow's own variables; ours are not.
        super().__init__(graph, {mesh: LocalMeshImpl()}, autostack=False)

    def verify_slice_shapes(
        self, tensor: MeshTensor, laid_out_tensor: object
    ) -> None:
        """Checks ranks and those sizes that are no nominal ones."""
        shape = laid_out_tensor.tensor_list[0].shape  # type: ignore[attr-defined]
        expected = tf.TensorShape(
            [
                None if d.size in _NOMINAL_SIZES.values() else d.size
                for d in tensor.shape.dims
            ]
        )
        if not expected.is_compatible_with(shape):
            raise ValueError(
                f"{tensor} was lowered to a tensor of shape {shape}; "
                f"its dimensions say {expected}."
            )
