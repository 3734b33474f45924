"""A run with a `PromptCheckpoint`, whatever model and data did before it."""

import json

import keras
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from keras_prompt.tasks.pipeline import make_dataset
from keras_prompt.tasks.sources import RowsSource
from keras_prompt.tasks.task import Task
from keras_prompt.training.checkpoint import PromptCheckpoint, steps_of

ROWS = [{"inputs": f"film {i}", "targets": "ab"[i % 2]} for i in range(16)]
TASK = Task("films", RowsSource({"train": ROWS}), labels=("a", "b"))


def batches(model):
    """Four of four rows."""
    return make_dataset(TASK, "train", model.tokenizer, batch_size=4)


def run(model, data, folder, *, stop_before=None, **options):
    """The epochs that a run of three takes, each with its first batch."""
    found = []

    def on_epoch_begin(epoch, logs):
        if epoch == stop_before:
            raise KeyboardInterrupt
        found.append((epoch, int(data.position.batch)))

    callbacks = [
        PromptCheckpoint(folder),
        keras.callbacks.LambdaCallback(on_epoch_begin=on_epoch_begin),
    ]
    try:
        model.fit(data, epochs=3, callbacks=callbacks, verbose=0, **options)
    except KeyboardInterrupt:
        assert stop_before is not None
    return found


@pytest.mark.parametrize("compile_again", [True, False])
def test_a_run_after_another_resumes_bit_equal_with_new_model_and_data(
    start, tmp_path, compile_again
):
    def after_another(folder, **options):
        model = start()
        data = batches(model)
        model.fit(data, verbose=0)
        if compile_again:
            start()
        return run(model, data, tmp_path / folder, **options)

    assert after_another("whole") == [(0, 0), (1, 4), (2, 8)]
    whole = safetensors.numpy.load_file(
        tmp_path / "whole" / "checkpoint.safetensors"
    )
    after_another("broken", stop_before=1)
    model = start()
    resumed = run(model, batches(model), tmp_path / "broken")
    assert resumed == [(1, 4), (2, 8)]
    assert model.batches_done == (12 if compile_again else 16)
    np.testing.assert_array_equal(
        model.prompt.embeddings.numpy(), whole["prompt"]
    )
    assert steps_of(tmp_path / "broken") == 12


def test_a_run_from_an_initial_epoch_goes_on_from_its_last(start, tmp_path):
    model = start()
    options = {"initial_epoch": 1}
    found = run(model, batches(model), tmp_path, stop_before=2, **options)
    assert found == [(1, 4)]
    model = start()
    assert run(model, batches(model), tmp_path, **options) == [(2, 8)]
    assert run(model, batches(model), tmp_path, **options) == []


def test_a_resumed_fit_s_history_is_of_all_epochs_since(start, tmp_path):
    model = start()
    data = batches(model)
    checkpoint = PromptCheckpoint(tmp_path, every_steps=2)

    def stop(batch, logs):
        if model.batches_done == 6:
            raise KeyboardInterrupt

    stopping = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    with pytest.raises(KeyboardInterrupt):
        model.fit(data, epochs=4, callbacks=[checkpoint, stopping], verbose=0)
    history = model.fit(data, epochs=4, callbacks=[checkpoint], verbose=0)
    assert history is model.history
    assert history.epoch == [1, 2, 3]
    assert len(history.history["loss"]) == 3


def test_a_checkpoint_that_counts_no_batches_before_it_goes_on(start, tmp_path):
    """As all did once."""
    model = start()
    run(model, batches(model), tmp_path, stop_before=1)
    path = tmp_path / "checkpoint.safetensors"
    with safetensors.safe_open(path, "numpy") as file:
        state = json.loads(file.metadata()["state"])
    assert state.pop("batches_before") == 0
    arrays = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file(arrays, path, {"state": json.dumps(state)})
    model = start()
    assert run(model, batches(model), tmp_path) == [(1, 4), (2, 8)]
