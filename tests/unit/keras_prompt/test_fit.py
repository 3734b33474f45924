"""What `fit` promises beyond Keras' own: where it starts, what it refuses."""

import dataclasses
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_prompt.export.other_tools import export_npy, import_prompt
from keras_prompt.export.prompt import export_prompt, load_prompt
from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models.plain_t5 import PlainT5
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.prompted_t5 import BestPrompt
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.optimizers import Adafactor
from keras_prompt.tasks.pipeline import make_dataset
from keras_prompt.tasks.sources import RowsSource
from keras_prompt.tasks.task import Task
from keras_prompt.training.bank_evaluator import BankEvaluator
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


def first_letter(text, *, example, is_target):
    return text if is_target else f"{text[:1]}?"


def always_right(targets, predictions):
    return {"right": 100.0}


def batches(model, repeat=False):
    """Four of four rows."""
    return make_dataset(
        TASK,
        "train",
        model.tokenizer,
        input_length=16,
        batch_size=4,
        repeat=repeat,
    )


def prompt_after(model, folder, epochs, stop_at=None, steps_per_epoch=None):
    """The prompt of a run that saves every two batches, or is stopped."""

    def stop(batch, logs):
        if model.batches_done == stop_at:
            raise KeyboardInterrupt

    callbacks = [
        PromptCheckpoint(folder, every_steps=2),
        keras.callbacks.LambdaCallback(on_train_batch_end=stop),
    ]
    try:
        model.fit(
            batches(model, repeat=steps_per_epoch is not None),
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            callbacks=callbacks,
            verbose=0,
        )
    except KeyboardInterrupt:
        assert stop_at
    return model.prompt.embeddings.numpy()


def epochs_begun(model, data, epochs, callbacks=()):
    begun = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: begun.append(epoch)
    )
    model.fit(data, epochs=epochs, callbacks=[*callbacks, watch], verbose=0)
    return begun


class Scores(TaskEvaluator):
    """Finds the scores that it is given, and no prompt at fault."""

    def __init__(self, scores, task=TASK, **options):
        options = {"answer_by": "rank", "verbose": False} | options
        super().__init__(task, **options)
        self.scores = iter(scores)
        self.asked_at = []

    def evaluate(self):
        self.asked_at.append(self.model.batches_done)
        name = self.task.name
        evaluation = self.evaluations[name]
        self.model.keep_best(name, next(self.scores), 1, evaluation)
        return {}


def test_the_best_of_a_second_task_is_its_own_though_it_scores_less(
    start, tmp_path
):
    best = []
    for name, score in (("easy", 90.0), ("hard", 40.0)):
        model = start()
        checkpoint = PromptCheckpoint(tmp_path / name)
        callbacks = [Scores([score]), checkpoint]
        model.fit(batches(model), callbacks=callbacks, verbose=0)
        best.append(model.best)
    assert [found.score for found in best] == [90.0, 40.0]
    # What is restored is the folder's, whatever the model had before.
    checkpoint.restore(model)
    assert model.best.score == 40.0
    model.best = BestPrompt(99.0, 1, best[0].prompt)
    checkpoint.restore(model)
    assert model.best.score == 40.0
    np.testing.assert_array_equal(model.best.prompt, best[1].prompt)


@pytest.fixture
def learning(tiny_model):
    """A model of the same weights, all of which learn."""
    base = tiny_model.backbone
    backbone = MeshT5Backbone(
        base.config,
        weights=lambda name: base.weight(name).numpy(),
        trainable=True,
    )
    model = PlainT5(backbone, tiny_model.tokenizer)
    model.compile(Adafactor(0.001), TokenCrossentropy())
    return model


@pytest.mark.parametrize(
    "change",
    [
        {"task": dataclasses.replace(TASK, name="of equal rows")},
        {"split": "train"},
        {"answer_by": "generate"},
        {"task": dataclasses.replace(TASK, metrics=(always_right,))},
        {"task": dataclasses.replace(TASK, score_by="accuracy")},
        {"task": dataclasses.replace(TASK, labels=("a", "b", "c"))},
        {"task": dataclasses.replace(TASK, postprocessor=first_letter)},
    ],
)
def test_a_fit_of_another_evaluation_has_a_best_of_its_own(
    start, learning, change
):
    """Though the one before scored more."""
    for model in (start(), learning):
        for scores, options, expected in (
            ([90.0], {}, 90.0),
            ([40.0], {}, 90.0),  # the same one: scores compare
            ([40.0], change, 40.0),
        ):
            evaluator = Scores(scores, **options)
            model.fit(batches(model), callbacks=[evaluator], verbose=0)
            found = {best.score for best in model.best_prompts.values()}
            assert found == {expected}
            assert model.best_prompts.keys() == model.tuned_weights.keys()


def test_a_best_in_a_checkpoint_is_not_one_of_another_evaluation(
    start, tmp_path
):
    """Though the run had no evaluator that would say so."""
    model = start()
    model.fit(batches(model), callbacks=[Scores([90.0])], verbose=0)
    checkpoint = PromptCheckpoint(tmp_path)
    model.fit(batches(model), callbacks=[checkpoint], verbose=0)
    for options, expected in (({}, 90.0), ({"split": "train"}, 40.0)):
        new = PromptTunedT5(
            model.backbone, model.tokenizer, model.prompt_length
        )
        new.compile(Adafactor(0.3), TokenCrossentropy())
        shutil.copytree(tmp_path, folder := tmp_path / f"{expected}")
        callbacks = [Scores([40.0], **options), PromptCheckpoint(folder)]
        new.fit(batches(new), epochs=2, callbacks=callbacks, verbose=0)
        assert new.best.score == expected


def test_a_score_that_cannot_be_is_refused_before_any_step():
    task = dataclasses.replace(TASK, score_by="acuracy")
    with pytest.raises(ValueError, match="Did you mean 'accuracy'"):
        TaskEvaluator(task)


def test_a_fit_that_is_refused_leaves_the_best(start, tmp_path):
    model = start()
    checkpoint = PromptCheckpoint(tmp_path)
    callbacks = [Scores([90.0]), checkpoint]
    model.fit(batches(model), callbacks=callbacks, verbose=0)
    callbacks = [Scores([40.0], split="train"), checkpoint]
    with pytest.raises(ValueError, match="a run with evaluation="):
        model.fit(batches(model), callbacks=callbacks, verbose=0)
    assert model.best.score == 90.0


def test_a_best_that_is_restored_stays_for_the_fits_after(start, tmp_path):
    model = start()
    checkpoint = PromptCheckpoint(tmp_path)
    callbacks = [Scores([90.0]), checkpoint]
    model.fit(batches(model), callbacks=callbacks, verbose=0)
    new = PromptTunedT5(model.backbone, model.tokenizer, model.prompt_length)
    new.compile(Adafactor(0.3), TokenCrossentropy())
    new.keep_best("another", 95.0, 1)
    for scores, callbacks in (([40.0], [checkpoint]), ([40.0] * 2, [])):
        callbacks = [Scores(scores), *callbacks]
        new.fit(batches(new), epochs=2, callbacks=callbacks, verbose=0)
        assert new.best.score == 90.0


def test_a_fit_s_logs_hold_no_score_of_the_fit_before(start):
    evaluator = TaskEvaluator(
        TASK, every_steps=3, answer_by="rank", verbose=False
    )
    for _ in range(2):
        model = start()
        history = model.fit(
            batches(model),
            epochs=2,
            steps_per_epoch=2,
            callbacks=[evaluator],
            verbose=0,
        ).history
        assert len(history["val_score"]) == 1  # of the third step


# keras: it copies a variable with `np.array`, of which NumPy complains.
@pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")
def test_a_prompt_that_is_loaded_has_no_best_before_it(tiny_model, tmp_path):
    export_prompt(tiny_model, tmp_path / "prompt")
    export_npy(tiny_model, tmp_path / "prompt.npy")
    tiny_model.save_weights(tmp_path / "prompt.weights.h5")
    for load in (
        lambda: load_prompt(tiny_model, tmp_path / "prompt"),
        lambda: import_prompt(tiny_model, tmp_path / "prompt.npy"),
        lambda: tiny_model.load_weights(tmp_path / "prompt.weights.h5"),
    ):
        tiny_model.keep_best("films", 90.0, 1)
        load()
        assert tiny_model.best is None


def test_a_fit_does_not_start_where_an_earlier_one_was_resumed(start, tmp_path):
    """Of data whose position cannot be set: whole epochs are restored."""
    model = start()
    data = tf.data.Dataset.from_tensors(next(iter(batches(model))))
    checkpoint = PromptCheckpoint(tmp_path / "run")
    assert epochs_begun(model, data, 1, [checkpoint]) == [0]
    assert epochs_begun(model, data, 2, [checkpoint]) == [1]
    assert epochs_begun(model, data, 1) == [0]
    # The same callback, its folder removed, starts again.
    shutil.rmtree(tmp_path / "run")
    assert epochs_begun(model, data, 2, [checkpoint]) == [0, 1]


@pytest.mark.parametrize("optimizer", [{}, {"gradient_accumulation_steps": 3}])
def test_a_run_of_whole_epochs_resumes_within_one_bit_equal(
    start, tmp_path, optimizer
):
    def run(folder, **options):
        model = start(Adafactor(0.3, **optimizer))
        prompt = prompt_after(model, tmp_path / folder, 3, **options)
        return model.batches_done, prompt

    _, whole = run("whole")
    assert run("broken", stop_at=3)[0] == 3
    batches_done, resumed = run("broken")
    assert batches_done == 12
    np.testing.assert_array_equal(resumed, whole)


def test_averaged_weights_come_at_the_end_only(start, tmp_path):
    """Not where the rest of a broken epoch ends."""

    def run(folder, **options):
        model = start(Adafactor(0.3, use_ema=True, ema_momentum=0.5))
        return prompt_after(
            model, tmp_path / folder, 2, steps_per_epoch=4, **options
        )

    whole = run("whole")
    run("broken", stop_at=3)
    np.testing.assert_array_equal(run("broken"), whole)
    # The broken epoch may also be the last.
    run("last", stop_at=7)
    np.testing.assert_array_equal(run("last"), whole)


@pytest.mark.parametrize(
    ("optimizer", "options", "every", "expected"),
    [
        ({}, {}, 3, [3, 6]),
        ({"gradient_accumulation_steps": 4}, {}, 2, [2, 4, 6, 8]),
        ({}, {"steps_per_execution": 2}, 3, [4, 6]),
    ],
)
def test_every_steps_is_once_for_each_multiple(
    start, optimizer, options, every, expected
):
    model = start(Adafactor(0.3, **optimizer), **options)
    evaluator = Scores([1.0] * 9, every_steps=every)
    model.fit(batches(model), epochs=2, callbacks=[evaluator], verbose=0)
    assert evaluator.asked_at == expected


def test_a_dataset_that_lost_its_position_is_told(start):
    model = start()
    made = batches(model)
    lost = made.map(lambda *batch: batch).prefetch(1)
    with pytest.warns(UserWarning, match=r"`x\.position = made\.position`"):
        model.fit(lost, verbose=0)
    lost.position = made.position
    model.fit(lost, epochs=2, verbose=0)
    assert int(made.position.batch) == 8


def test_fit_with_nothing_to_train_is_refused(start):
    model = start()
    frozen = PlainT5(model.backbone, model.tokenizer)
    frozen.backbone.trainable = True  # too late
    assert frozen.parameter_report().endswith("all frozen")
    assert not frozen.tuned_weights
    frozen.compile(Adafactor(0.3), TokenCrossentropy())
    model.prompt.trainable = False
    for one in (frozen, model):
        with pytest.raises(ValueError, match=r"PlainT5\.from_preset"):
            one.fit(batches(model), verbose=0)


def test_a_model_frozen_and_thawed_learns_as_before(start):
    before = start().trainable_variables
    model = start()
    model.trainable = False
    model.trainable = True
    assert model.trainable_variables == before
    model.fit(batches(model), verbose=0)


def test_evaluators_that_would_choose_the_same_prompt_are_refused(start):
    model = start()
    before = model.prompt.embeddings.numpy()
    two = [Scores([1.0]), Scores([1.0], split="train", limit=2)]
    with pytest.raises(
        ValueError, match=r"'validation' of films and split 'tr"
    ):
        model.fit(batches(model), callbacks=two, verbose=0)
    with pytest.raises(ValueError, match=r"is TaskEvaluator\(task\)"):
        model.fit(batches(model), callbacks=BankEvaluator([TASK]), verbose=0)
    np.testing.assert_array_equal(model.prompt.embeddings, before)


def test_a_rate_that_callbacks_moved_is_no_other_run(start, tmp_path):
    model = start()
    halve = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: rate.assign(rate / 2)
    )
    rate = model.optimizer.learning_rate
    for epochs in (1, 2):
        callbacks = [PromptCheckpoint(tmp_path), halve]
        model.fit(batches(model), epochs=epochs, callbacks=callbacks, verbose=0)
    assert float(rate) == pytest.approx(0.075)
    other = start(Adafactor(0.1))
    with pytest.raises(ValueError, match=r"learning_rate=0\.3.*=0\.1"):
        other.fit(
            batches(other), callbacks=PromptCheckpoint(tmp_path), verbose=0
        )


def test_a_scaled_loss_resumes_in_the_same_process(start, tmp_path):
    for epochs, expected in ((1, [0]), (2, [1])):
        adam = keras.optimizers.Adam(0.1)
        model = start(keras.optimizers.LossScaleOptimizer(adam))
        callbacks = [PromptCheckpoint(tmp_path)]
        assert epochs_begun(model, batches(model), epochs, callbacks) == (
            expected
        )


def test_a_checkpoint_in_a_callback_list_of_keras_resumes(start, tmp_path):
    for epochs, nested, expected in (
        (1, False, [0]),
        (2, False, [1]),
        (3, True, [2]),
    ):
        model = start()
        callbacks = keras.callbacks.CallbackList([PromptCheckpoint(tmp_path)])
        history = model.fit(
            batches(model),
            epochs=epochs,
            callbacks=[callbacks] if nested else callbacks,
            verbose=0,
        )
        assert history.epoch == expected


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't")
def test_only_saving_it_whole_is_refused_and_before_a_step(start, tmp_path):
    model, path = start(), tmp_path / "model.weights.h5"
    whole = keras.callbacks.ModelCheckpoint(tmp_path / "model.keras")
    weights = keras.callbacks.ModelCheckpoint(path, save_weights_only=True)
    with pytest.raises(ValueError, match="Pass it `save_weights_only=True`"):
        model.fit(batches(model), callbacks=[weights, whole], verbose=0)
    assert model.batches_done == 0
    model.fit(batches(model), callbacks=weights, verbose=0)
    assert path.exists()


def test_fit_takes_its_arguments_in_keras_order(start):
    model = start()
    x, y, _ = next(iter(batches(model)))
    history = model.fit(x, y, 2, 3, 0)
    assert history.epoch == [0, 1, 2]
    assert model.batches_done == 6
    with pytest.raises(ValueError, match="`class_weight` weighs rows"):
        model.fit(x, y, class_weight={0: 1.0, 1: 2.0}, verbose=0)
