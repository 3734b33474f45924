"""Checkpoints and rates of pre-training."""

import json
import os

import keras
import numpy as np
import pytest
import safetensors.numpy

from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models.language_model import T5LanguageModel
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config
from keras_prompt.optimizers import Adafactor
from keras_prompt.training.pretraining.checkpoint import (
    restore_checkpoint,
    save_checkpoint,
)
from keras_prompt.training.schedule import InverseSquareRoot, LinearEnd


def language_model(d_model=8):
    backbone = MeshT5Backbone(
        T5Config(40, d_model, 4, 8, 2, 1, 1), seed=d_model, trainable=True
    )
    model = T5LanguageModel(backbone)
    model.compile(optimizer=Adafactor(0.1), loss=TokenCrossentropy())
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, language_model(), 3)
    return path


def test_a_checkpoint_brings_back_weights_slots_and_epochs(checkpoint):
    model = language_model()
    for variable in (*model.backbone.weights, *model.optimizer.variables):
        if variable.name != "learning_rate":
            variable.assign(variable + 1)
    expected = [v.numpy() for v in model.backbone.weights]
    save_checkpoint(checkpoint, model, 4)
    other = language_model()
    assert restore_checkpoint(checkpoint, other) == 4
    for mine, theirs in zip(other.backbone.weights, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for mine, theirs in zip(
        other.optimizer.variables, model.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_no_checkpoint_is_no_epoch(tmp_path):
    assert restore_checkpoint(tmp_path / "absent", language_model()) == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-20],
        lambda data: data[:4],
        lambda data: b"",
        lambda data: safetensors.numpy.save({"a": np.zeros(3)}),
        lambda data: safetensors.numpy.save({"a": np.zeros(3)}, {"state": "{"}),
    ],
    ids=["cut", "cut in its header", "empty", "no state", "broken state"],
)
def test_a_damaged_checkpoint_is_refused_and_changes_nothing(
    checkpoint, damage
):
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    model = language_model()
    before = [v.numpy() for v in model.backbone.weights]
    with pytest.raises(ValueError, match="is not a complete checkpoint"):
        restore_checkpoint(checkpoint, model)
    for variable, value in zip(model.backbone.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_a_checkpoint_of_another_model_is_refused(checkpoint):
    with pytest.raises(ValueError, match="a checkpoint of another model"):
        restore_checkpoint(checkpoint, language_model(d_model=16))


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(
    checkpoint, monkeypatch
):
    before = checkpoint.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="cannot be written: No space left"):
        save_checkpoint(checkpoint, language_model(), 4)
    assert checkpoint.read_bytes() == before
    assert [path.name for path in checkpoint.parent.iterdir()] == [
        checkpoint.name
    ]


def test_a_constant_rate_s_checkpoint_fits_a_schedule(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, language_model(), 3)
    model = language_model()
    model.compile(
        optimizer=Adafactor(LinearEnd(0.1, 8, 4)), loss=TokenCrossentropy()
    )
    assert restore_checkpoint(path, model) == 3


def test_checkpoints_that_held_the_rate_are_read(checkpoint):
    arrays = safetensors.numpy.load_file(checkpoint)
    arrays["optimizer/learning_rate"] = np.ones(1, np.float32)
    state = {"state": json.dumps({"epoch": 3})}
    checkpoint.write_bytes(safetensors.numpy.save(arrays, state))
    model = language_model()
    assert restore_checkpoint(checkpoint, model) == 3
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)


def test_the_rate_is_flat_then_falls_with_the_root_of_the_step():
    schedule = InverseSquareRoot(100)
    rates = [float(schedule(step)) for step in (0, 100, 400)]
    assert rates == pytest.approx([0.1, 0.1, 0.05])


def test_the_rate_falls_to_zero_over_the_last_steps():
    schedule = LinearEnd(0.2, steps=100, decay_steps=10)
    rates = [float(schedule(step)) for step in (0, 89, 90, 95, 99, 100)]
    assert rates == pytest.approx([0.2, 0.2, 0.2, 0.1, 0.02, 0.0])
    both = LinearEnd(InverseSquareRoot(4), steps=16, decay_steps=8)
    assert float(both(12)) == pytest.approx(12**-0.5 / 2)
    again = keras.optimizers.schedules.deserialize(
        keras.optimizers.schedules.serialize(both)
    )
    assert float(again(12)) == float(both(12))
