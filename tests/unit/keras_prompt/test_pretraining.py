"""Pre-training runs: settings, schedules, checkpoints, records, output."""

import csv
import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
from tensorflow.core.util import event_pb2

from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models.checkpoints import formats, hugging_face
from keras_prompt.models.language_model import T5LanguageModel
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config
from keras_prompt.optimizers import Adafactor
from keras_prompt.training.pretraining import run as run_module
from keras_prompt.training.pretraining.checkpoint import (
    restore_checkpoint,
    save_checkpoint,
)
from keras_prompt.training.pretraining.config import PretrainConfig
from keras_prompt.training.pretraining.run import pretrain
from keras_prompt.training.pretraining.schedule import (
    InverseSquareRoot,
    LinearEnd,
)

SIZES = {
    "d_model": 8,
    "d_kv": 4,
    "d_ff": 8,
    "num_heads": 2,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, tiny_tokenizer):
    """A folder with texts and a vocabulary."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "corpus.txt").write_text(
        "\n\n".join(f"the film {i} is a delight " * 20 for i in range(300))
    )
    tiny_tokenizer.save(folder / "vocabulary.model")
    return folder


def settings(inputs, output):
    """Four steps, validated twice."""
    return PretrainConfig(
        texts=(str(inputs / "corpus.txt"),),
        output=str(output),
        vocabulary=str(inputs / "vocabulary.model"),
        **SIZES,
        steps=4,
        evaluate_every=2,
        batch_size=2,
        input_length=32,
        warmup_steps=100,
        dtype="float32",
    )


@pytest.fixture
def config(inputs, tmp_path):
    """A run that has not begun."""
    return settings(inputs, tmp_path / "run")


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    """The folder of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    pretrain(settings(inputs, folder))
    return folder


@pytest.fixture
def finished(whole, config):
    """The settings of a run that has finished."""
    shutil.copytree(whole, config.output)
    return config


def same_checkpoint(config, whole):
    name = "checkpoint.safetensors"
    return (Path(config.output) / name).read_bytes() == (
        whole / name
    ).read_bytes()


def scalars(folder):
    """The tags, and their steps, of TensorBoard's files."""
    found = {}
    for path in folder.rglob("*tfevents*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = event_pb2.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                tag = f"{path.parent.name}/{value.tag}"
                found.setdefault(tag, []).append(event.step)
    return found


def test_a_run_leaves_a_model_its_record_and_tensorboard_scalars(whole):
    folder = whole
    result = json.loads((folder / "model" / "training.json").read_text())
    assert result["steps"] == 4
    # 34 tokens make 32 of input and 8 of target; 2 rows a step.
    assert result["tokens"] == 4 * 2 * (32 + 8)
    with (folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4"]
    assert float(rows[-1]["val_loss"]) == result["val_loss"]
    checkpoint = hugging_face.read(folder / "model")
    stored = safetensors.numpy.load_file(folder / "checkpoint.safetensors")
    np.testing.assert_allclose(
        checkpoint.weights("shared/embedding"),
        stored["weights/shared.embedding"],
        rtol=2**-8,
    )
    assert scalars(folder / "tensorboard") == {
        "train/loss": [2, 4],
        "train/learning_rate": [2, 4],
        "validation/loss": [2, 4],
    }


def test_a_finished_run_again_says_the_same_and_trains_nothing(finished):
    model = Path(finished.output) / "model"
    first = json.loads((model / "training.json").read_text())
    weights = (model / "model.safetensors").read_bytes()
    assert pretrain(finished) == first
    assert (model / "model.safetensors").read_bytes() == weights


def test_more_steps_continue_a_run_as_if_never_stopped(config, whole):
    pretrain(dataclasses.replace(config, steps=2))
    result = pretrain(config)
    assert same_checkpoint(config, whole)
    expected = json.loads((whole / "model" / "training.json").read_text())
    for name in ("loss", "val_loss"):
        assert result[name] == expected[name]


def test_fewer_steps_than_are_done_are_refused(finished):
    with pytest.raises(ValueError, match="`steps` must not be less than the 4"):
        pretrain(dataclasses.replace(finished, steps=2))


@pytest.mark.parametrize("format", ["hugging_face", "mesh_tensorflow"])
def test_adaptation_starts_from_the_base_and_brings_its_vocabulary(
    config, whole, tiny_tokenizer, tmp_path, format
):
    formats.convert(whole / "model", tmp_path / "base", format)
    adaptation = dataclasses.replace(
        config,
        base=str(tmp_path / "base"),
        vocabulary=None,
        objective="prefix_lm",
        learning_rate=1e-9,
    )
    result = pretrain(adaptation)
    # Inputs and targets of prefix LM are equally long.
    assert result["tokens"] == 4 * 2 * (32 + 32)
    base = hugging_face.read(whole / "model")
    adapted = hugging_face.read(Path(config.output) / "model")
    assert adapted.vocabulary == tiny_tokenizer.model_proto
    np.testing.assert_allclose(
        adapted.weights("shared/embedding").astype(np.float32),
        base.weights("shared/embedding").astype(np.float32),
        rtol=2**-7,
    )


def test_from_text_files_to_a_model_with_a_vocabulary_of_its_own(
    config, tmp_path
):
    own = dataclasses.replace(config, vocabulary=None, train_vocabulary=40)
    pretrain(own)
    model = hugging_face.read(tmp_path / "run" / "model")
    vocabulary = (tmp_path / "run" / "spiece.model").read_bytes()
    assert model.vocabulary == vocabulary
    # 40 pieces and 100 sentinels, up to a multiple of 64.
    assert model.config.vocab_size == 192


def test_losses_fall(config):
    result = pretrain(
        dataclasses.replace(config, steps=40, warmup_steps=10, batch_size=8)
    )
    with open(f"{config.output}/history.csv", newline="") as file:
        first = float(next(csv.DictReader(file))["val_loss"])
    assert result["val_loss"] < first - 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 3}, "holds a run with batch_size=2"),
        ({"clip_norm": 1.0}, "clip_norm=None; this one has clip_norm=1.0"),
    ],
)
def test_another_run_s_folder_is_refused_and_left_as_it_is(
    config, tmp_path, change, message
):
    config.claim_output()
    before = (tmp_path / "run" / "run.json").read_text()
    with pytest.raises(ValueError, match=message):
        pretrain(dataclasses.replace(config, **change))
    assert (tmp_path / "run" / "run.json").read_text() == before


def test_a_record_of_before_a_setting_was_there_had_its_default(config):
    config.claim_output()
    path = config.check_output() / "run.json"
    old = json.loads(path.read_text())
    del old["micro_batches"], old["decay_steps"]
    path.write_text(json.dumps(old))
    config.claim_output()
    with pytest.raises(ValueError, match="micro_batches=1; this one has"):
        dataclasses.replace(config, micro_batches=2).claim_output()


def test_a_run_may_be_given_an_end_but_not_another_one(config):
    config.claim_output()
    end = dataclasses.replace(config, steps=8, decay_steps=4)
    end.claim_output()
    with pytest.raises(ValueError, match="steps=8; this one has steps=12"):
        dataclasses.replace(end, steps=12).claim_output()


def test_a_run_continues_into_an_end(finished):
    result = pretrain(dataclasses.replace(finished, steps=6, decay_steps=2))
    assert result["steps"] == 6


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


def test_a_damaged_record_is_named(config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json is damaged"):
        pretrain(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "`steps` must be a positive integer"),
        ({"steps": True}, "`steps` must be a positive integer"),
        ({"steps": 5}, "`steps` must be a multiple of evaluate_every=2"),
        ({"vocab_size": 0}, "`vocab_size` must be a positive integer"),
        ({"learning_rate": 0.0}, "`learning_rate` must be a positive number"),
        ({"clip_norm": -1.0}, "`clip_norm` must be a positive number"),
        ({"clip_norm": float("nan")}, "`clip_norm` must be a positive"),
        ({"decay_steps": 5}, "`decay_steps` must be from 0 to steps=4"),
        ({"micro_batches": 3}, "`micro_batches` must divide batch_size=2"),
        ({"objective": "lm"}, "`objective` must be 'span_corruption' or"),
        ({"texts": ()}, "`texts` must be a sequence of at least one"),
        ({"texts": "a.txt"}, "`texts` must be a sequence of at least one"),
        ({"vocabulary": None}, "Give one of `vocabulary`"),
        ({"base": "model"}, "Give one of `vocabulary`"),
        ({"train_vocabulary": 40}, "Give one of `vocabulary`"),
        (
            {"objective": "prefix_lm", "input_length": 31},
            "`input_length` must be even for prefix_lm",
        ),
    ],
)
def test_wrong_settings_are_refused(config, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(config, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"texts": ("absent.txt",)}, r"No text file at absent\.txt"),
        ({"vocabulary": "absent.model"}, r"No vocabulary at absent\.model"),
        ({"base": "absent", "vocabulary": None}, r"No checkpoint at .*absent"),
        ({"vocab_size": 64}, "`vocab_size` must be at least the vocabulary's"),
    ],
)
def test_what_cannot_work_leaves_no_folder(config, tmp_path, change, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        pretrain(dataclasses.replace(config, **change))
    assert not (tmp_path / "run").exists()


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
    again = LinearEnd(**LinearEnd(0.2, 100, 10).get_config())
    assert float(again(95)) == pytest.approx(0.1)


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


def test_an_interrupt_between_validations_resumes_to_the_same_weights(
    config, whole, monkeypatch
):
    original = run_module.PretrainingLog.on_train_batch_end

    def interrupt(self, batch, logs=None):
        original(self, batch, logs)
        if self._step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(
            run_module.PretrainingLog, "on_train_batch_end", interrupt
        )
        with pytest.raises(KeyboardInterrupt):
            pretrain(config)
    pretrain(config)
    assert same_checkpoint(config, whole)


def test_rows_past_the_checkpoint_are_written_again_once(config, whole):
    pretrain(dataclasses.replace(config, steps=2))
    # As after a kill between the last row and its checkpoint.
    history = Path(config.output) / "history.csv"
    shutil.copy(whole / "history.csv", history)
    pretrain(config)
    with history.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["step"] for row in found] == ["2", "4"]
    seconds = [float(row["seconds"]) for row in found]
    assert seconds == sorted(seconds)
