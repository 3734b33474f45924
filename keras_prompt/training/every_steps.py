"""Callbacks that act each time so many steps more are done."""

from typing import Any

import keras

from keras_prompt.arguments import check_integers


class EverySteps(keras.callbacks.Callback):
    """Calls `on_steps` when a multiple of `every_steps` is reached or passed.

    Keras tells callbacks of whole executions (`steps_per_execution`), which
    may end beyond a multiple. A step is a batch here, also where the
    optimizer makes one step of several (`gradient_accumulation_steps`).

    Args:
        every_steps: steps between two calls; none makes no call.

    Raises:
        ValueError: `every_steps` is not positive.
    """

    def __init__(self, every_steps: int | None) -> None:
        super().__init__()
        if every_steps is not None:
            check_integers(every_steps=(every_steps, 1))
        self.every_steps = every_steps
        self._seen = 0

    def on_steps(self) -> None:
        """What is to be done."""
        raise NotImplementedError

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._seen = self.model.batches_done

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self.every_steps is None:
            return
        before, self._seen = self._seen, self.model.batches_done
        if before // self.every_steps < self._seen // self.every_steps:
            self.on_steps()
