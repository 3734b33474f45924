"""Keras' `fit`, going on where a callback's checkpoint left off."""

import contextlib
import functools
import inspect
import warnings
from collections.abc import Iterator
from typing import Any

import keras

from keras_prompt.models.data_position import (
    TrackPosition,
    inherited,
    whole_epochs_afterwards,
)
from keras_prompt.models.fixed_sums import fixed_order_of_sums
from keras_prompt.models.keras_strategy import StrategyModel

_ARGUMENTS = inspect.signature(keras.Model.fit)
_POSITION_LOST = (
    "`x` is made from what `make_dataset` made, whose position it lacks: "
    "every epoch gets the first one's order, and no checkpoint can go on "
    "within one. Give `fit` what `make_dataset` returned; or, where one batch "
    "is still one batch (`map`, `prefetch`), hand the position on: "
    "`x.position = made.position`."
)
_TWO_RUNS = (
    "`callbacks` must not hold two PromptCheckpoints: `fit` goes on from one "
    "folder. Copy the folder afterwards, or give `fit` one of them."
)
_NOTHING_LEARNS = (
    "`fit` has nothing to train: no weight of the model is trainable. A "
    "prompt that was frozen learns again after `trainable = True`; a T5 "
    "learns only if it was loaded to, by "
    "`PlainT5.from_preset(…, trainable=True)`."
)
_NOT_SAVED_WHOLE = (
    "`ModelCheckpoint` must not save the model whole, as `from_preset` makes "
    "it anew. Pass it `save_weights_only=True` and a name in `.weights.h5`, or "
    "give `fit` a `PromptCheckpoint`."
)


class ResumableModel(StrategyModel):
    """A model whose `fit` goes on where an earlier one was stopped.

    A callback with a method `before_fit` is first asked whether it is for
    this model and stands beside the others; one with `resume` then restores
    what it saved and says how many batches that were.

    Attributes:
        compiled_rate: the learning rate that `compile` was given, whatever
            callbacks made of it since; none for a schedule.
    """

    compiled_rate: float | None = None

    def compile(self, *args: Any, **kwargs: Any) -> None:
        super().compile(*args, **kwargs)
        rate: Any = self.optimizer.learning_rate
        is_number = isinstance(rate, keras.Variable)
        self.compiled_rate = float(rate.numpy()) if is_number else None

    @property
    def batches_done(self) -> int:
        """Batches that the optimizer has had.

        More than its steps, `iterations`, where `gradient_accumulation_steps`
        makes one of several batches.
        """
        optimizer: Any = self.optimizer
        # A `LossScaleOptimizer` leaves the counting to what it wraps.
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        return int(optimizer._iterations.numpy())

    def check_data(self, data: Any) -> None:
        """Refuses data of other tasks than the model's, if that can be told.

        Args:
            data: what `fit`, `evaluate` or `predict` got.
        """

    @functools.wraps(keras.Model.fit)
    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        self._assert_compile_called("fit")
        given = _ARGUMENTS.bind(self, *args, **kwargs)
        given.apply_defaults()
        options = dict(given.arguments)
        del options["self"]
        x = options["x"]
        self.check_data(x)
        self.check_data(options["validation_data"])
        if options["class_weight"] is not None:
            raise ValueError(
                "`class_weight` weighs rows by their class, and a target here "
                "is several tokens. Give `sample_weight`, float (B, T)."
            )
        if not self.trainable_variables:
            raise ValueError(_NOTHING_LEARNS)
        callbacks = sorted(_each(options["callbacks"]), key=_place)
        if sum(hasattr(callback, "resume") for callback in callbacks) > 1:
            raise ValueError(_TWO_RUNS)
        for callback in callbacks:
            if isinstance(callback, keras.callbacks.ModelCheckpoint) and (
                not callback.save_weights_only
            ):
                raise ValueError(_NOT_SAVED_WHOLE)
        position = getattr(x, "position", None)
        if position is None and inherited(x, "position") is not None:
            warnings.warn(_POSITION_LOST, stacklevel=2)
        per_epoch = options["steps_per_epoch"]
        if position is not None:
            per_epoch = per_epoch or position.batches_per_epoch
            if position.is_endless:  # or its first epoch would be, too
                options["steps_per_epoch"] = per_epoch
        self.check_epoch(per_epoch)
        batches_done = 0
        self._initial_epoch = None  # what a callback set in an earlier fit
        self.optimizer.build(self.trainable_variables)
        for callback in callbacks:
            if hasattr(callback, "before_fit"):
                callback.before_fit(self, callbacks)
        for callback in callbacks:
            if hasattr(callback, "resume"):
                batches_done = callback.resume(
                    self,
                    options["initial_epoch"],
                    per_epoch,
                    position,
                    callbacks,
                )
        options["callbacks"] = callbacks
        if position is None:
            return self._fit_from(batches_done, per_epoch, options)
        callbacks.insert(0, TrackPosition(position, per_epoch))
        with whole_epochs_afterwards(position):
            return self._fit_from(batches_done, per_epoch, options)

    def _fit_from(
        self, batches_done: int, per_epoch: int | None, options: dict[str, Any]
    ) -> keras.callbacks.History:
        """Keras' `fit`, of which so many batches are done."""
        fit = fixed_order_of_sums()(super().fit)
        if per_epoch is None or not batches_done:
            return fit(**options)
        epochs = options["epochs"]
        initial_epoch, into_epoch = divmod(batches_done, per_epoch)
        if not into_epoch or initial_epoch >= epochs:
            return fit(**options | {"initial_epoch": initial_epoch})
        # Keras runs epochs of one length; the broken one is shorter.
        self.check_epoch(per_epoch - into_epoch)
        verbose = options["verbose"]
        callbacks = _OneRun(
            options["callbacks"],
            add_history=True,
            add_progbar=verbose != 0,
            model=self,
            verbose=verbose,
            epochs=epochs,
            steps=per_epoch,
        )
        options["callbacks"] = callbacks
        rest = {
            "initial_epoch": initial_epoch,
            "epochs": initial_epoch + 1,
            "steps_per_epoch": per_epoch - into_epoch,
        }
        with _unfinished(self.optimizer):
            history = fit(**options | rest)
        initial_epoch += 1
        if initial_epoch < epochs and not self.stop_training:
            history = fit(**options | {"initial_epoch": initial_epoch})
        else:
            self.optimizer.finalize_variable_values(self.trainable_weights)
        callbacks.end()
        return history


def _each(callbacks: Any) -> Iterator[keras.callbacks.Callback]:
    """The callbacks by themselves, also those in Keras' `CallbackList`."""
    for callback in keras.tree.flatten(callbacks or []):
        if isinstance(callback, keras.callbacks.CallbackList):
            yield from _each(callback.callbacks)
        else:
            yield callback


def _place(callback: keras.callbacks.Callback) -> int:
    """Where a callback stands, whatever the user's order.

    What evaluates comes first and what saves last: others act by what the one
    finds out, and what they do belongs to what the other saves.
    """
    if hasattr(callback, "resume"):
        return 2
    return 0 if hasattr(callback, "before_fit") else 1


class _OneRun(keras.callbacks.CallbackList):
    """Tells callbacks of one run, which Keras takes in two calls of `fit`."""

    _has_begun = False
    _last_logs: dict[str, Any] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if not self._has_begun:
            self._has_begun = True
            super().on_train_begin(logs)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._last_logs = logs  # Keras does not know which is the last

    def end(self) -> None:
        """Tells that the run is over."""
        super().on_train_end(self._last_logs)


@contextlib.contextmanager
def _unfinished(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Leaves the weights as they are where Keras thinks training has ended.

    Else `use_ema` would put averages in their place.
    """
    optimizer.finalize_variable_values = lambda variables: None
    try:
        yield
    finally:
        del optimizer.finalize_variable_values
