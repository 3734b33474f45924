"""Learning-rate schedules: T5's for pre-training, and an end to any."""

from typing import Any

import keras

from keras_prompt.types import Tensor


@keras.saving.register_keras_serializable(package="keras_prompt")
class InverseSquareRoot(keras.optimizers.schedules.LearningRateSchedule):
    """1 / sqrt(max(step, warmup_steps)): flat, then slowly falling.

    Raffel et al. 2020, section 3.1.2, with 10,000 steps of warm-up.

    Args:
        warmup_steps: positive; how long the rate stays at its first value.
    """

    def __init__(self, warmup_steps: int = 10_000) -> None:
        self.warmup_steps = warmup_steps

    def __call__(self, step: Tensor) -> Tensor:
        step = keras.ops.cast(step, "float32")
        return keras.ops.rsqrt(keras.ops.maximum(step, self.warmup_steps))

    def get_config(self) -> dict[str, int]:
        return {"warmup_steps": self.warmup_steps}


@keras.saving.register_keras_serializable(package="keras_prompt")
class LinearEnd(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that falls to zero over a run's last steps.

    The model that a run leaves is read after them; the noise of the steps
    before averages out while the rate falls (the "cooldown" of Zhai et al.
    2022, "Scaling Vision Transformers").

    Args:
        rate: a number, or the schedule that holds until then.
        steps: of the whole run.
        decay_steps: the last so many, in a straight line to 0.
    """

    def __init__(
        self,
        rate: float | keras.optimizers.schedules.LearningRateSchedule,
        steps: int,
        decay_steps: int,
    ) -> None:
        self.rate = rate
        self.steps = steps
        self.decay_steps = decay_steps

    def __call__(self, step: Tensor) -> Tensor:
        rate = self.rate(step) if callable(self.rate) else self.rate
        left = self.steps - keras.ops.cast(step, "float32")
        return rate * keras.ops.clip(left / self.decay_steps, 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {
            "rate": keras.saving.serialize_keras_object(self.rate),
            "steps": self.steps,
            "decay_steps": self.decay_steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LinearEnd":
        rate = keras.saving.deserialize_keras_object(config["rate"])
        return cls(**{**config, "rate": rate})
