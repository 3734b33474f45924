"""Where in its data a training run stands, so that it can go on from there."""

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import keras
import tensorflow as tf


class Position(Protocol):
    """What `make_dataset` hangs on its datasets as `position`.

    Attributes:
        batch: int64 variable: the batch, counted from the first epoch's
            first, at which the next iterator starts.
        batches_per_epoch: of one pass over the data.
        fingerprint: equal for equal rows in equal order.
        is_endless: whether an iterator goes on after its epoch.
    """

    batch: Any
    batches_per_epoch: int
    fingerprint: str
    is_endless: bool


def inherited(dataset: Any, name: str) -> Any:
    """An attribute of a dataset, or of one that it is made from.

    `map`, `prefetch` and the like leave behind what `make_dataset` hung on.

    Args:
        dataset: a `tf.data.Dataset`, or whatever else `fit` takes.
        name: of the attribute.

    Returns:
        None if none has it.
    """
    found = getattr(dataset, name, None)
    if found is None and isinstance(dataset, tf.data.Dataset):
        above = (inherited(d, name) for d in dataset._inputs())
        found = next((value for value in above if value is not None), None)
    return found


@contextlib.contextmanager
def whole_epochs_afterwards(position: Position) -> Iterator[None]:
    """Moves a dataset that ends with an epoch on to the next one's start.

    It would give a later `fit`, `predict` or `evaluate` only the rest of an
    epoch within which this one ended. An endless dataset just goes on.
    """
    try:
        yield
    finally:
        if not position.is_endless:
            batch = _read(position)
            position.batch.assign(batch + -batch % position.batches_per_epoch)


def _read(position: Position) -> int:
    # Not int() alone: made in a strategy's scope, it is a mirrored variable.
    return int(position.batch.numpy())


class TrackPosition(keras.callbacks.Callback):
    """Moves a dataset's position past the batches of every finished epoch.

    Without it each epoch would read the data in the first one's order.

    Args:
        position: of the dataset.
        steps_per_epoch: batches of an epoch, as `fit` counts them.
    """

    def __init__(self, position: Position, steps_per_epoch: int) -> None:
        super().__init__()
        self._position = position
        self._steps_per_epoch = steps_per_epoch
        self._start = 0
        self._seen = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._start = _read(self._position)

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self._start or not epoch:
            return
        # The data are new and the run is not: `fit` got an `initial_epoch`,
        # or Keras' `BackupAndRestore` found one.
        start = epoch * self._steps_per_epoch
        if not self._position.is_endless:
            # Keras has asked how many batches are left: a whole epoch's.
            start -= start % self._position.batches_per_epoch
        self._start = start
        self._position.batch.assign(start)

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if not self._seen and not self._position.is_endless:
            # The epoch's data have begun. Where they began within it and
            # validate as well, validation has them whole.
            batches = self._position.batches_per_epoch
            self._position.batch.assign(self._start - self._start % batches)
        self._seen = batch + 1

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._start += self._seen
        self._seen = 0
        self._position.batch.assign(self._start)
