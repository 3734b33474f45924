"""Chooses the lowering: by the mesh, and by where training runs."""

from typing import TypeAlias

from keras_prompt.models.layout import Layout
from keras_prompt.models.mesh.local import Local
from keras_prompt.models.mesh.placement import Placement

Lowering: TypeAlias = Local | Placement


def choose_lowering(layout: Layout) -> Lowering:
    """One device, or several of this process.

    Raises:
        ValueError: the mesh does not fit the devices.
    """
    if layout.device_count == 1:
        return Local()
    return Placement(layout)
