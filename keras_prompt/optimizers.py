"""Adafactor with T5's rules, which Keras' own optimizer cannot follow.

Keras' `Adafactor` bounds the step size by 1 / sqrt(step), always scales it by
the weight's root mean square, factors every matrix and multiplies weight decay
by the learning rate. Lester et al. 2021 trained prompts with T5X's, which does
none of that when parameter scaling is off.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_prompt.types import Tensor

# Shazeer and Stern 2018: added to the squared gradient, and the least scale
# of a weight's own size.
_EPSILON_SQUARED_GRADIENT = 1e-30
_EPSILON_PARAMETER_SIZE = 1e-3


@keras.saving.register_keras_serializable(package="keras_prompt")
class Adafactor(keras.optimizers.Optimizer):
    """Shazeer and Stern 2018 as T5X implements it, without momentum.

    With step t from 1 (`iterations + 1 - step_offset`), gradient g, weight w:

        decay  = 1 - t ** -decay_exponent
        v      = decay * v + (1 - decay) * (g ** 2 + 1e-30)
        update = g / sqrt(v)
        update = update / max(1, rms(update) / clip_threshold)
        w      = w * (1 - weight_decay) - learning_rate * update

    v is kept as means over rows and columns when the weight's two largest
    dimensions both reach `min_dim_size_to_factor`: a prompt of 100 vectors is
    not factored, one of 150 is.

    A weight with a true attribute `may_be_absent`, a prompt of a
    `PromptBank`, counts its own steps and stands still, with all that is kept
    of it, in a step whose gradient for it is zero throughout: its task was
    not in the batch. It then moves as in a run of its own. (A schedule of the
    learning rate follows `iterations`, the steps of all.)

    Differences from `keras.optimizers.Adafactor`: the learning rate is used as
    given; scaling by the weight's size is a choice; weight decay is not
    multiplied by the learning rate; small matrices are not factored.

    Args:
        learning_rate: 0.3 in the paper, constant; or a Keras schedule.
        weight_decay: share of the weight lost each step, 1e-5 in the paper;
            none is 0. `exclude_from_weight_decay` spares weights.
        step_offset: subtracted from the step before the decay is computed.
            The paper's code restores the step of the adapted checkpoint,
            1,100,000, which an offset of -1,100,000 reproduces; which of the
            two the paper's figures used is not stated. Positive only where
            `iterations` starts at no less.
        scale_by_parameter_size: multiplies the step by max(1e-3, rms(w)), as
            T5's pre-training does and prompt tuning does not.
        clip_threshold: largest root mean square of an update.
        decay_exponent: 0.8 in T5.
        min_dim_size_to_factor: 128 in T5X.

    Raises:
        ValueError: a number is out of its range; or, on the first use,
            `step_offset` is more than `iterations`.
    """

    def __init__(
        self,
        learning_rate: float
        | keras.optimizers.schedules.LearningRateSchedule = 0.3,
        *,
        weight_decay: float | None = 1e-5,
        step_offset: int = 0,
        scale_by_parameter_size: bool = False,
        clip_threshold: float = 1.0,
        decay_exponent: float = 0.8,
        min_dim_size_to_factor: int = 128,
        name: str = "adafactor",
        **kwargs: Any,
    ) -> None:
        for argument, value in (
            ("clip_threshold", clip_threshold),
            ("decay_exponent", decay_exponent),
        ):
            if value <= 0:
                raise ValueError(
                    f"`{argument}` must be positive. "
                    f"Received: {argument}={value!r}"
                )
        weight_decay = 0.0 if weight_decay is None else weight_decay
        if not 0 <= weight_decay < 1:
            raise ValueError(
                "`weight_decay` must be at least 0 and below 1. "
                f"Received: weight_decay={weight_decay!r}"
            )
        # Keras' own weight decay is scaled by the learning rate; ours is not,
        # so the base class must not see it.
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.decay_per_step = weight_decay
        self.step_offset = step_offset
        self.scale_by_parameter_size = scale_by_parameter_size
        self.clip_threshold = clip_threshold
        self.decay_exponent = decay_exponent
        self.min_dim_size_to_factor = min_dim_size_to_factor

    def _get_current_learning_rate(self) -> Any:
        # Keras asks a schedule by batches, of which one step takes several
        # where gradients are accumulated.
        schedule = self._learning_rate
        if isinstance(
            schedule, keras.optimizers.schedules.LearningRateSchedule
        ):
            return schedule(self.iterations)
        return super()._get_current_learning_rate()

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        with tf.init_scope():
            step = int(self.iterations.numpy())
        if self.step_offset > step:
            raise ValueError(
                f"`step_offset` must not exceed the step, {step}: steps are "
                "counted from 1. "
                f"Received: step_offset={self.step_offset!r}"
            )
        # Slots live where the weights do, wherever this is called from.
        with self._distribution_strategy.scope():
            super().build(variables)
            self._slots = [self._make_slots(v) for v in variables]
            self._own_steps = [self._make_steps(v, step) for v in variables]

    def update_step(
        self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor
    ) -> None:
        # An embedding's gradient comes as slices; moments take all of it.
        gradient = tf.cast(tf.convert_to_tensor(gradient), tf.float32)
        weight = ops.cast(variable, "float32")
        index = self._get_variable_index(variable)
        slots, own_steps = self._slots[index], self._own_steps[index]
        steps = self.iterations if own_steps is None else own_steps
        step = ops.cast(steps, "float32") + (1.0 - self.step_offset)
        # Not 1 - decay: at step 1,100,000 that has lost most of its digits.
        fresh = step**-self.decay_exponent
        squared = ops.square(gradient) + _EPSILON_SQUARED_GRADIENT
        axes = self._factored_axes(variable.shape)
        if axes is None:
            moments = [_moved(slots[0], squared, fresh)]
            update = gradient * ops.rsqrt(moments[0])
        else:
            moments = _factored_moments(slots, squared, fresh, axes)
            update = gradient * _factored_scale(moments, axes)
        size = _root_mean_square(update) / self.clip_threshold
        step_size = ops.cast(learning_rate, "float32")
        if self.scale_by_parameter_size:
            step_size *= ops.maximum(
                _root_mean_square(weight), _EPSILON_PARAMETER_SIZE
            )
        if self._use_weight_decay(variable):
            weight = weight * (1.0 - self.decay_per_step)
        weight = weight - step_size * update / ops.maximum(size, 1.0)
        after = [(variable, ops.cast(weight, variable.dtype))]
        after += zip(slots, moments, strict=True)
        if own_steps is not None:
            after.append((own_steps, own_steps + 1))
            is_present = ops.any(ops.not_equal(gradient, 0.0))
            after = [(v, ops.where(is_present, new, v)) for v, new in after]
        for moved, value in after:
            self.assign(moved, value)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return config | {
            "weight_decay": self.decay_per_step,
            "step_offset": self.step_offset,
            "scale_by_parameter_size": self.scale_by_parameter_size,
            "clip_threshold": self.clip_threshold,
            "decay_exponent": self.decay_exponent,
            "min_dim_size_to_factor": self.min_dim_size_to_factor,
        }

    def _make_slots(self, variable: keras.Variable) -> list[keras.Variable]:
        """The second moments."""
        axes = self._factored_axes(variable.shape)
        name = variable.path.replace("/", "_")
        if axes is None:
            shapes = {"second_moment": tuple(variable.shape)}
        else:
            rows, columns = axes
            shapes = {
                "second_moment_rows": _without(variable.shape, columns),
                "second_moment_columns": _without(variable.shape, rows),
            }
        return [
            self.add_variable(
                shape=shape,
                initializer="zeros",
                dtype="float32",
                name=f"{name}_{slot}",
            )
            for slot, shape in shapes.items()
        ]

    def _make_steps(
        self, variable: keras.Variable, step: int
    ) -> keras.Variable | None:
        """The count of a weight's steps, where it is its own."""
        if not getattr(variable, "may_be_absent", False):
            return None
        name = variable.path.replace("/", "_")
        return self.add_variable(
            shape=(),
            initializer=keras.initializers.Constant(step),
            dtype=self.iterations.dtype,
            name=f"{name}_steps",
        )

    def _factored_axes(self, shape: Sequence[int]) -> tuple[int, int] | None:
        """The second-largest and the largest axis, or none if too small."""
        if len(shape) < 2:
            return None
        by_size = sorted(range(len(shape)), key=lambda axis: shape[axis])
        if shape[by_size[-2]] < self.min_dim_size_to_factor:
            return None
        return by_size[-2], by_size[-1]


def _moved(average: Tensor, value: Tensor, fresh: Tensor) -> Tensor:
    return (1.0 - fresh) * average + fresh * value


def _factored_moments(
    slots: Sequence[Tensor],
    squared: Tensor,
    fresh: Tensor,
    axes: tuple[int, int],
) -> list[Tensor]:
    """The means over columns, and over rows."""
    rows_axis, columns_axis = axes
    return [
        _moved(slot, ops.mean(squared, axis=reduced), fresh)
        for slot, reduced in zip(slots, (columns_axis, rows_axis), strict=True)
    ]


def _factored_scale(moments: Sequence[Tensor], axes: tuple[int, int]) -> Tensor:
    """One over the root of rows * columns / mean(rows)."""
    rows_axis, columns_axis = axes
    rows, columns = moments
    # The rows' axis moved down if the axis averaged away stood before it.
    axis = rows_axis - (columns_axis < rows_axis)
    rows = rows / ops.mean(rows, axis=axis, keepdims=True)
    rows = ops.expand_dims(ops.rsqrt(rows), columns_axis)
    columns = ops.expand_dims(ops.rsqrt(columns), rows_axis)
    return rows * columns


def _root_mean_square(x: Tensor) -> Tensor:
    return ops.sqrt(ops.mean(ops.square(x)))


def _without(shape: Sequence[int], axis: int) -> tuple[int, ...]:
    return tuple(size for i, size in enumerate(shape) if i != axis)
