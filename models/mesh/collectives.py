"""Sums among the replicas of a strategy, from inside `strategy.run`.

The one place that knows which strategy it is. A TPU sums within groups of
replicas by itself. Other strategies sum over all replicas and nothing less:
there each group adds into a slot of its own and takes that slot's sum.

Letters: N replicas.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_prompt.types import Tensor


def grouped_sum(tensor: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """The sum over the replicas of this replica's group.

    Args:
        tensor: of the same static shape on every replica.
        groups: replica numbers; each is in one group.
    """
    context = tf.distribute.get_replica_context()
    if isinstance(context.strategy, tf.distribute.TPUStrategy):
        return tf.raw_ops.CrossReplicaSum(
            input=tensor, group_assignment=np.array(groups, np.int32)
        )
    if len(groups) == 1:
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tensor)
    group_of = np.zeros(sum(map(len, groups)), np.int32)
    for group, members in enumerate(groups):
        group_of[list(members)] = group
    mine = tf.gather(tf.constant(group_of), replica_number())
    slots = in_slot(tensor, mine, len(groups))
    slots = context.all_reduce(tf.distribute.ReduceOp.SUM, slots)
    return tf.ensure_shape(tf.gather(slots, mine), tensor.shape)


def gather_rows(tensor: Tensor) -> Tensor:
    """Every replica's rows, (rows, ...) to (N * rows, ...), on each."""
    context = tf.distribute.get_replica_context()
    count = context.num_replicas_in_sync
    slots = in_slot(tensor, replica_number(), count)
    slots = grouped_sum(slots, [list(range(count))])
    return tf.reshape(slots, [-1, *tensor.shape[1:]])


def own_rows(tensor: Tensor) -> Tensor:
    """This replica's part of what `gather_rows` gave."""
    context = tf.distribute.get_replica_context()
    rows = tensor.shape[0] // context.num_replicas_in_sync
    begin = replica_number() * rows
    return tf.ensure_shape(
        tf.gather(tensor, begin + tf.range(rows)), [rows, *tensor.shape[1:]]
    )


def replica_number() -> Tensor:
    """Of this replica, int32 scalar from 0."""
    context = tf.distribute.get_replica_context()
    return tf.cast(context.replica_id_in_sync_group, tf.int32)


def in_slot(tensor: Tensor, slot: Tensor, count: int, axis: int = 0) -> Tensor:
    """Zeros with the tensor at one of `count` places along a new axis.

    Chosen, not multiplied: 0 times a number that is not finite is not 0.
    """
    sizes = [1] * (len(tensor.shape) + 1)
    sizes[axis] = count
    is_slot = tf.reshape(tf.range(count) == slot, sizes)
    zero = tf.zeros([], tensor.dtype)
    return tf.where(is_slot, tf.expand_dims(tensor, axis), zero)
