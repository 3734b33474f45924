"""The `placement` lowering: several devices of one process.

Every device holds its slices of the weights and computes on its slices of the
activations; sums across devices are TensorFlow's additions, through which a
gradient tape goes by itself. Batch and lengths may be unknown when traced, as
in the local lowering: only the batch is ever cut, and it is filled up with
rows of zeros to what the mesh divides. Rows do not look at each other, so
those change nothing, and they are dropped again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from keras_prompt.models.layout import Layout
from keras_prompt.models.mesh import MeshTensor, PlacementMeshImpl, mtf
from keras_prompt.models.mesh.local import NOMINAL_SIZES, RelaxedLowering
from keras_prompt.models.mesh.sliced_variable import (
    SlicedVariable,
    mesh_and_rules,
)
from keras_prompt.types import FloatArray, Tensor


class PlacedMeshImpl(PlacementMeshImpl):
    """Cuts along dimensions whose size may be known only at run time."""

    def __init__(self, layout: Layout, devices: Sequence[str]) -> None:
        super().__init__(*mesh_and_rules(layout), list(devices))

    def import_tf_tensor(self, x: MeshTensor, tf_x: Tensor) -> Any:
        pieces = [tf_x]
        layout = self.tensor_layout(x).mesh_axis_to_tensor_axis(self.ndims)
        # The last axis of the mesh varies fastest among the processors.
        for mesh_axis, tensor_axis in enumerate(layout):
            parts = self.shape[mesh_axis].size
            pieces = [
                part
                for piece in pieces
                for part in (
                    [piece] * parts
                    if tensor_axis is None
                    else tf.split(piece, parts, tensor_axis)
                )
            ]
        return self.slicewise(tf.identity, self.LaidOutTensor(pieces))


class Placement:
    """Lowers to the devices of this process.

    Args:
        layout: of a mesh of more than one device.

    Raises:
        ValueError: there are fewer devices.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.devices = _devices(layout.device_count)

    def dimension(self, name: str, size: int | None) -> Any:
        """A named dimension; `None` is a size known only at run time."""
        parts = self.layout.parts(name)
        if size is None:
            return mtf.Dimension(name, NOMINAL_SIZES[name] * parts)
        return mtf.Dimension(name, size)

    def place(
        self, values: Sequence[FloatArray], dtype: str
    ) -> list[tf.Variable]:
        """Makes one variable a device, of that device's slice."""
        variables = []
        for device, value in zip(self.devices, values, strict=True):
            with tf.device(device):
                variables.append(
                    tf.Variable(tf.cast(value, dtype), trainable=False)
                )
        return variables

    def slices(self, resident: list[tf.Variable]) -> list[tf.Variable]:
        """The variables that `place` made."""
        return resident

    def read(self, variable: SlicedVariable, dtype: tf.DType) -> list[Tensor]:
        """A weight's slices, each on its device."""
        slices = []
        for device, piece in zip(self.devices, variable.slices, strict=True):
            with tf.device(device):
                slices.append(tf.cast(piece, dtype))
        return slices

    def enter(self, tensor: Tensor, names: Sequence[str]) -> Tensor:
        """Fills the batch up to what the mesh divides."""
        parts = self.layout.parts("batch")
        if names[0] != "batch" or parts == 1:
            return tensor
        rows = tensor.shape[0]
        if rows is not None and rows % parts == 0:
            return tensor
        missing = -(tf.shape(tensor)[0] if rows is None else rows) % parts
        fill = [[0, missing]] + [[0, 0]] * (len(names) - 1)
        return tf.pad(tensor, fill)

    def lower(
        self,
        graph: Any,
        mesh: Any,
        entered: Sequence[tuple[Tensor, MeshTensor]],
        outputs: Mapping[str, MeshTensor],
    ) -> dict[str, Tensor]:
        """Runs a graph; `Local.lower` says more."""
        implementation = PlacedMeshImpl(self.layout, self.devices)
        lowering = RelaxedLowering(graph, mesh, implementation)
        rows = next(
            tf.shape(tensor)[0]
            for tensor, imported in entered
            if imported.shape.dims[0].name == "batch"
        )
        return {
            name: self._leave(lowering.export_to_tf_tensor(tensor), rows)
            for name, tensor in outputs.items()
        }

    def _leave(self, tensor: Tensor, rows: Tensor) -> Tensor:
        return tensor if self.layout.parts("batch") == 1 else tensor[:rows]


def _devices(count: int) -> list[str]:
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    devices = [d.name for d in tf.config.list_logical_devices(kind)]
    if len(devices) < count:
        raise ValueError(
            f"`mesh_shape` needs {count} devices; TensorFlow sees "
            f"{len(devices)} of kind {kind}. Choose a smaller mesh, or make "
            "logical devices before TensorFlow starts "
            "(tf.config.set_logical_device_configuration)."
        )
    return devices[:count]
