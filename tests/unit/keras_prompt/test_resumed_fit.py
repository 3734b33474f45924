"""A `fit` that goes on within an epoch: one run to all that look on."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.optimizers import Adafactor
from keras_prompt.tasks.pipeline import make_dataset
from keras_prompt.tasks.sources import RowsSource
from keras_prompt.tasks.task import Task
from keras_prompt.training.checkpoint import PromptCheckpoint
from keras_prompt.training.evaluator import TaskEvaluator

ROWS = [
    {"inputs": f"a film {'very ' * (i % 3)}dull", "targets": "ab"[i % 2]}
    for i in range(16)
]
TASK = Task(
    "films",
    RowsSource({"train": ROWS, "validation": ROWS[:4]}),
    labels=("a", "b"),
)


def batches(model, repeat=False):
    """Four of four rows."""
    return make_dataset(
        TASK, "train", model.tokenizer, batch_size=4, repeat=repeat
    )


def run(model, folder, *callbacks, data=None, stop_at=None, **options):
    """The history of three epochs, or none of a run that is stopped.

    It is saved every two batches, and stopped before it is saved.
    """

    def stop(batch, logs):
        if model.batches_done == stop_at:
            raise KeyboardInterrupt

    stopping = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    checkpoint = PromptCheckpoint(folder, every_steps=2)
    options = {"epochs": 3, "verbose": 0} | options
    try:
        return model.fit(
            batches(model) if data is None else data,
            callbacks=[checkpoint, *callbacks, stopping],
            **options,
        )
    except KeyboardInterrupt:
        assert model.batches_done == stop_at
        return None


class Witness(keras.callbacks.Callback):
    """Writes down what it is told."""

    def __init__(self):
        super().__init__()
        self.told = []

    def on_train_begin(self, logs=None):
        self.told.append(("begin", self.params["epochs"]))

    def on_epoch_end(self, epoch, logs=None):
        self.told.append(epoch)

    def on_train_end(self, logs=None):
        self.told.append(("end", sorted(logs)))


def test_callbacks_see_one_run(start, tmp_path):
    run(start(), tmp_path, stop_at=7)
    witness = Witness()
    log = tmp_path / "log.csv"
    run(start(), tmp_path, witness, keras.callbacks.CSVLogger(log))
    assert witness.told == [("begin", 3), 1, 2, ("end", ["loss"])]
    _, *rows = log.read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["1", "2"]


@pytest.mark.parametrize("verbose", [0, 2])
def test_a_run_that_ends_with_its_broken_epoch_ends_once(
    start, tmp_path, verbose
):
    run(start(), tmp_path, stop_at=11)
    witness = Witness()
    history = run(start(), tmp_path, witness, verbose=verbose)
    assert witness.told == [("begin", 3), 2, ("end", ["loss"])]
    assert history.epoch == [2]
    assert history is history.model.history


def test_a_run_that_is_stopped_in_its_broken_epoch_ends_there(start, tmp_path):
    run(start(), tmp_path, stop_at=7)
    witness = Witness()
    early = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(
            witness.model, "stop_training", True
        )
    )
    assert run(start(), tmp_path, witness, early).epoch == [1]
    assert witness.told == [("begin", 3), 1, ("end", ["loss"])]


def test_executions_that_do_not_fit_the_rest_of_an_epoch_are_refused(
    start, tmp_path
):
    """They would run into the next one."""
    model = start()
    endless = {"data": batches(model, repeat=True), "steps_per_epoch": 4}
    run(model, tmp_path, stop_at=7, **endless)
    model = start(steps_per_execution=4)
    endless["data"] = batches(model, repeat=True)
    with pytest.raises(ValueError, match="must divide the steps of an epoch"):
        run(model, tmp_path, **endless)
    model = start(steps_per_execution=2)
    endless["data"] = batches(model, repeat=True)
    run(model, tmp_path, **endless)
    assert model.batches_done == 12


def test_two_checkpoints_are_refused(start, tmp_path):
    """The second, whose folder is new, would begin the epochs anew."""
    model = start()
    with pytest.raises(ValueError, match="must not hold two"):
        run(model, tmp_path / "one", PromptCheckpoint(tmp_path / "two"))
    assert model.batches_done == 0


@pytest.mark.parametrize("steps", [3, 5])
def test_epochs_that_end_within_finite_data_are_refused(start, tmp_path, steps):
    model = start()
    with pytest.raises(ValueError, match=r"`steps_per_epoch` must divide .*4"):
        run(model, tmp_path, steps_per_epoch=steps)
    run(model, tmp_path, steps_per_epoch=2, epochs=2)
    assert model.batches_done == 4


def test_endless_data_has_the_epochs_of_its_rows(start, tmp_path):
    model = start()
    assert run(model, tmp_path, data=batches(model, repeat=True)).epoch == [
        0,
        1,
        2,
    ]
    assert model.batches_done == 12


def test_training_data_that_validate_are_whole_in_a_broken_epoch(
    start, tmp_path
):
    def losses(folder, **options):
        model = start()
        data = batches(model)
        found = run(model, folder, data=data, validation_data=data, **options)
        return found and found.history["val_loss"]

    whole = losses(tmp_path / "whole")
    losses(tmp_path / "broken", stop_at=7)
    np.testing.assert_array_equal(losses(tmp_path / "broken"), whole[1:])


# keras: it copies a variable with `np.array`, of which NumPy complains.
@pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")
def test_what_waits_for_a_score_may_stand_before_what_finds_it(start, tmp_path):
    model = start()
    monitors = [
        keras.callbacks.EarlyStopping("val_score", patience=1, mode="max"),
        keras.callbacks.ModelCheckpoint(
            tmp_path / "best.weights.h5",
            monitor="val_score",
            mode="max",
            save_best_only=True,
            save_weights_only=True,
        ),
    ]
    always = dataclasses.replace(
        TASK, metrics=[lambda targets, predictions: {"one": 1.0}]
    )
    evaluator = TaskEvaluator(always, answer_by="rank", verbose=False)
    history = run(model, tmp_path, *monitors, evaluator, epochs=5)
    assert history.epoch == [0, 1]
    assert monitors[1].best == 1.0


@pytest.mark.parametrize(
    "change",
    [
        {"loss": TokenCrossentropy(z_loss=0.5)},
        {"dropout_rate": 0.1},
        {"dtype": "bfloat16"},
    ],
)
def test_a_run_goes_on_with_its_loss_dropout_and_type_only(
    start, tmp_path, change
):
    model = start()
    run(model, tmp_path, stop_at=7)
    loss = change.pop("loss", TokenCrossentropy())
    base = model.backbone
    backbone = MeshT5Backbone(
        base.config, weights=lambda name: base.weight(name).numpy(), **change
    )
    other = PromptTunedT5(backbone, model.tokenizer, model.prompt_length)
    other.compile(Adafactor(0.3), loss)
    name = next(iter(change), "loss")
    with pytest.raises(ValueError, match=f"of a run with {name}="):
        run(other, tmp_path)
