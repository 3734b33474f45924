"""The noise of dropout: which units of a step are kept."""

import itertools
import numbers
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_prompt.types import Tensor


class DropoutNoise:
    """Draws for one place of a graph after the other, each time anew.

    Args:
        rate: share of units to drop; the paper's code had 0.1.
        seed: int32 (2,), of one step, from `next_seed`.
    """

    def __init__(self, rate: float, seed: Tensor) -> None:
        self._keep = 1.0 - rate
        self._seed = seed
        self._places = itertools.count()

    def draw(self, sizes: Sequence[int | Tensor], dtype: tf.DType) -> Tensor:
        """A factor for each unit: 1 / (1 - rate) where it is kept, else 0."""
        # Not a sum: Keras adds 1 to the seed every step, and the noise of one
        # place would be its neighbour's of the step before.
        seed = tf.random.experimental.stateless_fold_in(
            self._seed, next(self._places)
        )
        noise = tf.random.stateless_uniform(sizes, seed)
        return tf.cast(noise < self._keep, dtype) / tf.cast(self._keep, dtype)


def next_seed(seeds: keras.random.SeedGenerator) -> Tensor:
    """Int32 (2,); every replica of a strategy drops other units."""
    seed = tf.cast(seeds.next(), tf.int32)
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return seed
    number = tf.cast(replica.replica_id_in_sync_group, tf.int32)
    return seed + tf.stack([number * 65_536, 0])


def check_dropout_rate(dropout_rate: Any) -> None:
    """Refuses what is no share of units to drop.

    Raises:
        ValueError: it is no number from 0 to below 1.
    """
    is_number = isinstance(dropout_rate, numbers.Real)
    if not is_number or not 0 <= dropout_rate < 1:
        raise ValueError(
            "`dropout_rate` must be at least 0 and below 1. "
            f"Received: dropout_rate={dropout_rate!r}"
        )
