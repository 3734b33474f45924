"""Saves all a prompt's training needs to go on, and nothing of the base."""

import json
import os
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy

from keras_prompt.models.data_position import Position
from keras_prompt.models.prompt_tuned_t5 import BestPrompt, PromptTunedT5

_FILE = "checkpoint.safetensors"


class PromptCheckpoint(keras.callbacks.Callback):
    """Saves prompt, optimizer slots, step, data position and best prompt.

    `PromptTunedT5.fit` restores what the folder holds before it starts: a run
    that was killed goes on where it was saved and ends with the same prompt,
    bit for bit, as one that was not. That takes a dataset of `make_dataset`,
    whose position can be set; with any other, epochs are restored whole.

    Args:
        directory: of the run; made if absent.
        every_steps: steps between two saves within an epoch; none saves
            after each epoch only.

    Raises:
        ValueError: `every_steps` is not positive; or, in `fit`, the file is
            truncated or of another model or optimizer.
    """

    def __init__(
        self, directory: str | Path, every_steps: int | None = None
    ) -> None:
        super().__init__()
        if every_steps is not None and every_steps < 1:
            raise ValueError(
                "`every_steps` must be a positive integer. "
                f"Received: every_steps={every_steps!r}"
            )
        self.path = Path(directory) / _FILE
        self.every_steps = every_steps
        self._is_exact = True
        self._per_epoch: int | None = None

    def resume(
        self,
        model: PromptTunedT5,
        steps_per_epoch: int | None,
        position: Position | None,
    ) -> int:
        """Restores the run, if there is one, and returns its steps."""
        self._is_exact = position is not None
        self._per_epoch = steps_per_epoch
        if not self._is_exact and self.every_steps is not None:
            warnings.warn(
                "The dataset's position cannot be restored, as only that of "
                "`make_dataset` can; saving after each epoch instead.",
                stacklevel=3,
            )
        steps = self.restore(model)
        if position is not None and steps:
            position.batch.assign(steps)
        return steps

    def restore(self, model: PromptTunedT5) -> int:
        """Restores variables; returns the optimizer's steps, 0 if none."""
        if not self.path.is_file():
            return 0
        variables = _variables(model)
        try:
            with safetensors.safe_open(self.path, "numpy") as file:
                state = json.loads(file.metadata()["state"])
                stored = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except safetensors.SafetensorError as error:
            raise ValueError(
                f"{self.path} is not a complete checkpoint ({error}). "
                "Remove it to start again."
            ) from error
        best = stored.pop("best_prompt", None)
        shapes = {name: v.numpy().shape for name, v in variables.items()}
        found = {name: tuple(state["shapes"][name]) for name in stored}
        if shapes != found or state["base"] != model.backbone.fingerprint():
            raise ValueError(
                f"{self.path} is a checkpoint of another base, prompt length "
                "or optimizer. Choose another directory."
            )
        for name, variable in variables.items():
            variable.assign(stored[name].reshape(shapes[name]))
        if best is not None:
            model.best = BestPrompt(state["score"], state["step"], best)
        return int(model.optimizer.iterations.numpy())

    def save(self) -> None:
        """Replaces the file in one step; a kill leaves the old or the new."""
        model = self.model
        arrays = {name: v.numpy() for name, v in _variables(model).items()}
        state: dict[str, Any] = {
            "shapes": {name: array.shape for name, array in arrays.items()},
            "base": model.backbone.fingerprint(),
        }
        stored = {n: np.atleast_1d(array) for n, array in arrays.items()}
        if model.best is not None:
            stored["best_prompt"] = model.best.prompt
            state |= {"score": model.best.score, "step": model.best.step}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{_FILE}.{os.getpid()}")
        data = safetensors.numpy.save(stored, {"state": json.dumps(state)})
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path)

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self.every_steps is None or not self._is_exact:
            return
        step = int(self.model.optimizer.iterations.numpy())
        # What is found out at an epoch's end belongs to its last step: saved
        # before it, a resumed run would never find it out.
        is_epoch_end = self._per_epoch and step % self._per_epoch == 0
        if step % self.every_steps == 0 and not is_epoch_end:
            self.save()

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self.save()


def _variables(model: PromptTunedT5) -> dict[str, keras.Variable]:
    """By name: the prompt, the optimizer's, and the seeds of dropout."""
    variables = {"prompt": model.prompt.embeddings}
    for variable in model.optimizer.variables:
        if "learning_rate" not in variable.path:
            variables[f"optimizer/{variable.path}"] = variable
    for index, variable in enumerate(model.backbone.non_trainable_variables):
        if "seed" in variable.path:
            variables[f"seed/{index}"] = variable
    return variables
