"""What Keras 3.15 does not get right under a `tf.distribute` strategy."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

Logs = dict[str, Any]


def gradient_clips(optimizer: Any) -> dict[str, float]:
    """What Keras clips gradients by, by the argument's name.

    Args:
        optimizer: as `compile` takes it.
    """
    optimizer = keras.optimizers.get(optimizer)
    # A `LossScaleOptimizer` leaves clipping to the one within.
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    names = ("clipnorm", "global_clipnorm", "clipvalue")
    found = {name: getattr(optimizer, name, None) for name in names}
    return {name: v for name, v in found.items() if v is not None}


class _MeanOverReplicas(keras.metrics.Mean):
    """A mean over batches of losses that are a mean over replicas.

    Keras weights each replica's loss by its rows. `TokenCrossentropy` has
    weighted it by its tokens already, so that only the batch's rows may
    count; the two differ where a last batch leaves replicas without rows.
    """

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        replica = tf.distribute.get_replica_context()
        if replica is not None and sample_weight is not None:
            sample_weight = replica.all_reduce(
                tf.distribute.ReduceOp.MEAN, tf.cast(sample_weight, tf.float32)
            )
        super().update_state(values, sample_weight)


class StrategyModel(keras.Model):
    """A model that trains alike with and without a strategy.

    Its output is (B, T, `vocabulary_size`) and it is built on construction.
    `device_count` is how many devices one pass is spread over.
    """

    vocabulary_size: int
    device_count: int = 1
    train_function: Any
    test_function: Any

    def compile(
        self,
        optimizer: Any = "rmsprop",
        *args: Any,
        jit_compile: bool = False,
        **kwargs: Any,
    ) -> None:
        # Keras' default compiles with XLA anew for each batch's longest row.
        replicas = self.distribute_strategy.num_replicas_in_sync
        devices = max(replicas, self.device_count)
        if jit_compile and devices > 1:
            raise ValueError(
                "`jit_compile=True` compiles the step of one device; this "
                f"model was made for {devices}. Leave it out: a TPU compiles "
                "every step by itself."
            )
        clips = gradient_clips(optimizer) if replicas > 1 else {}
        for clip, value in clips.items():
            raise ValueError(
                f"`{clip}` must not be set on replicas: Keras clips each "
                "one's part of a gradient before the parts are added. "
                f"Leave it out. Received: {clip}={value!r}"
            )
        super().compile(optimizer, *args, jit_compile=jit_compile, **kwargs)
        if replicas > 1:
            self._loss_tracker = _MeanOverReplicas(name="loss")

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse_replicas("train_on_batch", "fit")
        return super().train_on_batch(*args, **kwargs)

    def test_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse_replicas("test_on_batch", "evaluate")
        return super().test_on_batch(*args, **kwargs)

    def _refuse_replicas(self, method: str, other: str) -> None:
        if self.distribute_strategy.num_replicas_in_sync > 1:
            raise ValueError(
                f"`{method}` takes one device's batch; a model on replicas "
                f"takes a dataset, in `{other}`."
            )

    def check_epoch(self, steps_per_epoch: int | None) -> None:
        """Refuses epochs that end within an execution of several steps.

        Callbacks are told of whole executions; a checkpoint would name steps
        that were not taken.

        Raises:
            ValueError: `steps_per_execution` does not divide the epoch.
        """
        steps = self.steps_per_execution
        if steps_per_epoch is not None and steps_per_epoch % steps:
            raise ValueError(
                "`steps_per_execution` must divide the steps of an epoch, "
                f"{steps_per_epoch}. Received: steps_per_execution={steps}"
            )

    def _maybe_symbolic_build(
        self, iterator: Any = None, data_batch: Any = None
    ) -> None:
        """Builds losses and metrics from shapes alone.

        Keras takes the first batch, averages it over the replicas and calls
        the model on it. That loses a batch of a stream, and ids and masks
        have no average.
        """
        if self._distribute_strategy is None:
            return  # Keras builds while it traces
        y_true = keras.KerasTensor((None, None), "int32")
        y_pred = keras.KerasTensor(
            (None, None, self.vocabulary_size), "float32"
        )
        with self.distribute_strategy.scope():
            for part in (self._compile_loss, self._compile_metrics):
                if part is not None and not part.built:
                    part.build(y_true, y_pred)
            if self.optimizer is not None and not self.optimizer.built:
                self.optimizer.build(self.trainable_variables)
            self._post_build()

    def make_train_function(self, force: bool = False) -> None:
        """As many steps in one call as `compile` asks for.

        Keras' own loop over steps carries optionals through branches, which
        TensorFlow fails to run under MirroredStrategy for any model; and it
        averages the workers' logs along an axis that scalars do not have.
        """
        if self._distribute_strategy is None:
            super().make_train_function(force)
        elif self.train_function is None or force:
            self.train_function = self._traced(self._train_steps)

    def make_test_function(self, force: bool = False) -> None:
        """The same for `evaluate`, whose last execution may be short."""
        if self._distribute_strategy is None:
            super().make_test_function(force)
        elif self.test_function is None or force:
            one_step = self._traced(
                functools.partial(self._one_step, self.test_step)
            )
            more = self.steps_per_execution - 1

            def up_to_several_steps(iterator: Any) -> Logs:
                logs = one_step(iterator)
                with contextlib.suppress(tf.errors.OutOfRangeError):
                    for _ in range(more):
                        logs = one_step(iterator)
                return logs

            self.test_function = up_to_several_steps

    def _train_steps(self, iterator: Any) -> Logs:
        one_step = functools.partial(self._one_step, self.train_step)
        if self.steps_per_execution == 1:
            return one_step(iterator)
        _, logs = tf.while_loop(
            lambda step, _: step < self.steps_per_execution,
            lambda step, _: (step + 1, one_step(iterator)),
            (tf.constant(1), one_step(iterator)),
        )
        return logs

    def _one_step(self, step: Callable[[Any], Logs], iterator: Any) -> Logs:
        strategy = self.distribute_strategy
        logs = strategy.run(step, args=(iterator.get_next(),))
        return {
            name: strategy.reduce("MEAN", value, axis=None)
            for name, value in logs.items()
        }

    def _traced(self, function: Callable[[Any], Logs]) -> Callable[[Any], Logs]:
        if self.run_eagerly:
            return function
        return tf.function(function, reduce_retracing=True, autograph=False)
