"""Saves all weights and optimizer slots of a run, and brings them back."""

import json
from pathlib import Path

import keras
import numpy as np
import safetensors
import safetensors.numpy

from keras_prompt.types import FloatArray


def save_checkpoint(path: Path, model: keras.Model, epoch: int) -> None:
    """Replaces the checkpoint in one step, so that a kill leaves one whole."""
    arrays = {name: v.numpy() for name, v in _variables(model).items()}
    temporary = path.with_suffix(".partial")
    safetensors.numpy.save_file(
        {name: np.atleast_1d(array) for name, array in arrays.items()},
        temporary,
        metadata={"state": json.dumps({"epoch": epoch})},
    )
    temporary.replace(path)


def restore_checkpoint(path: Path, model: keras.Model) -> int:
    """Restores weights and slots; returns the epochs done, 0 without a file.

    Raises:
        ValueError: the file is truncated or of another model.
    """
    if not path.is_file():
        return 0
    model.optimizer.build(model.trainable_variables)
    variables = _variables(model)
    try:
        with safetensors.safe_open(path, "numpy") as file:
            if set(file.keys()) != set(variables):
                raise ValueError(f"{path} is a checkpoint of another model.")
            for name, variable in variables.items():
                stored: FloatArray = file.get_tensor(name)
                variable.assign(stored.reshape(variable.shape))
            return int(json.loads(file.metadata()["state"])["epoch"])
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is not a complete checkpoint ({error}). "
            "Remove it to start again."
        ) from error


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    weights = {f"weights/{v.path}": v for v in model.weights}
    slots = {f"optimizer/{v.path}": v for v in model.optimizer.variables}
    return weights | slots
