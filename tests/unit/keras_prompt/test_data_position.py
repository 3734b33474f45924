"""Which rows a `fit` gets, after whatever an earlier one got."""

import keras
import pytest

from keras_prompt.losses import TokenCrossentropy
from keras_prompt.optimizers import Adafactor
from keras_prompt.tasks.pipeline import make_dataset
from keras_prompt.tasks.sources import RowsSource
from keras_prompt.tasks.task import Task

ROWS = [{"inputs": f"film {i}", "targets": "ab"[i % 2]} for i in range(16)]
TASK = Task("films", RowsSource({"train": ROWS}), labels=("a", "b"))


@pytest.fixture
def model(tiny_model):
    tiny_model.compile(Adafactor(0.3), TokenCrossentropy())
    return tiny_model


def batches(model, **options):
    """Four of four rows."""
    return make_dataset(TASK, "train", model.tokenizer, batch_size=4, **options)


class Epochs(keras.callbacks.Callback):
    """Number, first batch and batches of each epoch; may stop at a batch."""

    def __init__(self, data, stop_at=None):
        super().__init__()
        self.data, self.stop_at, self.found = data, stop_at, []

    def on_epoch_begin(self, epoch, logs=None):
        self.found.append([epoch, int(self.data.position.batch), 0])

    def on_train_batch_end(self, batch, logs=None):
        self.found[-1][2] += 1
        self.model.stop_training = batch + 1 == self.stop_at


def epochs_of(model, data, stop_at=None, **options):
    """What `Epochs` finds of a `fit`."""
    watch = Epochs(data, stop_at)
    callbacks = [*options.pop("callbacks", ()), watch]
    model.fit(data, callbacks=callbacks, verbose=0, **options)
    return watch.found


def test_a_fit_that_ends_within_an_epoch_leaves_whole_ones(model):
    data = batches(model)
    assert epochs_of(model, data, steps_per_epoch=3) == [[0, 0, 3]]
    assert model.predict(data, verbose=0).shape[0] == 16
    assert epochs_of(model, data, epochs=2) == [[0, 4, 4], [1, 8, 4]]
    assert epochs_of(model, data, stop_at=1) == [[0, 12, 1]]
    assert epochs_of(model, data) == [[0, 16, 4]]


def test_an_endless_dataset_goes_on_where_a_fit_ended(model):
    data = batches(model, repeat=True)
    assert epochs_of(model, data, steps_per_epoch=3) == [[0, 0, 3]]
    assert epochs_of(model, data, steps_per_epoch=3) == [[0, 3, 3]]


def test_an_initial_epoch_is_that_of_new_data_too(model):
    found = epochs_of(model, batches(model), initial_epoch=2, epochs=4)
    assert found == [[2, 8, 4], [3, 12, 4]]
    data = batches(model, repeat=True)
    found = epochs_of(model, data, initial_epoch=2, epochs=3, steps_per_epoch=3)
    assert found == [[2, 6, 3]]
    # Data that were used go on where they are.
    found = epochs_of(model, data, initial_epoch=2, epochs=3, steps_per_epoch=3)
    assert found == [[2, 9, 3]]


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't")
def test_keras_own_backup_goes_on_with_the_rows_that_come_next(model, tmp_path):
    def run(stop_at=None):
        stop = keras.callbacks.LambdaCallback(
            on_epoch_end=interrupt_at(stop_at)
        )
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        return epochs_of(
            model, batches(model), epochs=3, callbacks=[stop, backup]
        )

    with pytest.raises(KeyboardInterrupt):
        run(stop_at=1)
    assert run() == [[1, 4, 4], [2, 8, 4]]


def interrupt_at(stop_at):
    def interrupt(epoch, logs):
        if epoch == stop_at:
            raise KeyboardInterrupt

    return interrupt
