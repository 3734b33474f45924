"""Saves all weights and optimizer slots of a run, and brings them back."""

import json
from pathlib import Path

import keras
import numpy as np
import safetensors.numpy

from keras_prompt.atomic_files import write_file
from keras_prompt.models.language_model import T5LanguageModel
from keras_prompt.training.open_checkpoint import open_checkpoint
from keras_prompt.types import FloatArray

_RATE = "optimizer/learning_rate"


def save_checkpoint(path: Path, model: T5LanguageModel, epoch: int) -> None:
    """Replaces the checkpoint in one step, so that a kill leaves one whole.

    Raises:
        OSError: it cannot be written; the old one is unharmed.
    """
    # safetensors has no arrays of rank 0.
    arrays = {
        name: np.atleast_1d(variable.numpy())
        for name, variable in _variables(model).items()
    }
    metadata = {"state": json.dumps({"epoch": epoch})}
    write_file(path, safetensors.numpy.save(arrays, metadata))


def restore_checkpoint(path: Path, model: T5LanguageModel) -> int:
    """Restores weights and slots; returns the epochs done, 0 without a file.

    Nothing is assigned unless all of it fits.

    Raises:
        ValueError: the file is truncated or of another model.
    """
    if not path.is_file():
        return 0
    model.optimizer.build(model.trainable_variables)
    variables = _variables(model)
    with open_checkpoint(path) as (state, file):
        epoch = state["epoch"]
        stored: dict[str, FloatArray] = {
            name: file.get_tensor(name)
            for name in file.keys()  # noqa: SIM118
            if name != _RATE
        }
    shapes = {name: tuple(v.shape) or (1,) for name, v in variables.items()}
    if {name: array.shape for name, array in stored.items()} != shapes:
        raise ValueError(
            f"{path} is a checkpoint of another model. Choose another output "
            "folder, or remove the file to start again."
        )
    for name, variable in variables.items():
        variable.assign(stored[name].reshape(variable.shape))
    return int(epoch)


def _variables(model: T5LanguageModel) -> dict[str, keras.Variable]:
    """By name, without the numbers Keras gives to objects of the same kind."""
    optimizer = model.optimizer
    weights = {f"weights/{v.name}": v for v in model.backbone.weights}
    slots = {
        f"optimizer/{v.path.removeprefix(optimizer.name + '/')}": v
        for v in optimizer.variables
    }
    # The run's settings hold the rate, and may later give it an end.
    return weights | {n: v for n, v in slots.items() if n != _RATE}
