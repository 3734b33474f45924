"""Chooses the lowering: by the mesh, and by where training runs."""

from typing import TypeAlias

import tensorflow as tf

from keras_prompt.models.layout import Layout
from keras_prompt.models.mesh.local import Local
from keras_prompt.models.mesh.placement import Placement
from keras_prompt.models.mesh.replica import Replica

Lowering: TypeAlias = Local | Placement | Replica


def choose_lowering(layout: Layout) -> Lowering:
    """One device, the replicas of a strategy, or devices of this process.

    Under a strategy without a mesh every replica is one device.

    Raises:
        ValueError: the mesh does not fit the replicas or devices.
    """
    if layout.device_count == 1:
        return Local()
    strategy = tf.distribute.get_strategy()
    if strategy.num_replicas_in_sync > 1:
        return Replica(layout, strategy)
    return Placement(layout)
