"""T5's learning-rate schedule for pre-training."""

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
