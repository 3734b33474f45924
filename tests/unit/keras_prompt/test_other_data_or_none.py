"""What a run does on other data than its own, and after it has diverged."""

import dataclasses

import numpy as np
import pytest

from keras_prompt import tasks
from keras_prompt.losses import TokenCrossentropy
from keras_prompt.optimizers import Adafactor
from keras_prompt.tasks.pipeline import make_dataset
from keras_prompt.training.checkpoint import PromptCheckpoint
from keras_prompt.training.config import TuneConfig
from keras_prompt.training.evaluation import evaluate_examples, likeliest
from keras_prompt.training.evaluator import TaskEvaluator
from keras_prompt.training.tune import tune

_ROWS = [
    {"inputs": f"the film is {word} {number}", "targets": target}
    for number in range(4)
    for word, target in (("wonderful", "positive"), ("dull", "negative"))
]
_OTHER = [*_ROWS[:-1], {"inputs": "a dull film", "targets": "negative"}]


def _task(train=_ROWS, validation=_ROWS):
    source = tasks.RowsSource({"train": train, "validation": validation})
    return tasks.Task("toy", source, labels=("negative", "positive"))


def _fit(model, folder, epochs, task, options=(), **evaluation):
    options = {"batch_size": 4, "target_length": 12, **dict(options)}
    model.compile(optimizer=Adafactor(0.3), loss=TokenCrossentropy())
    evaluator = TaskEvaluator(task, verbose=False, **evaluation)
    train = make_dataset(task, "train", model.tokenizer, **options)
    callbacks = [evaluator, PromptCheckpoint(folder)]
    model.fit(train, epochs=epochs, callbacks=callbacks, verbose=0)
    return int(model.optimizer.iterations)


@pytest.mark.parametrize(
    ("task", "options", "setting"),
    [
        (_task(train=_OTHER), {}, "data"),
        (_task(), {"seed": 1}, "data"),
        (_task(), {"shuffle": False}, "data"),
        (_task(), {"input_length": 4}, "data"),
        (_task(validation=_OTHER), {}, "evaluation"),
    ],
    ids=["train", "seed", "shuffle", "length", "validation"],
)
def test_a_run_does_not_go_on_with_other_rows(
    tiny_model, tmp_path, task, options, setting
):
    _fit(tiny_model, tmp_path, 1, _task(), answer_by="rank")
    with pytest.raises(ValueError, match=rf"a run with {setting}=.* this one"):
        _fit(tiny_model, tmp_path, 2, task, options, answer_by="rank")


def test_a_run_goes_on_with_rows_that_are_equal(tiny_model, tmp_path):
    _fit(tiny_model, tmp_path, 1, _task(), answer_by="rank", batch_size=3)
    copied = _task([dict(row) for row in _ROWS])
    steps = _fit(tiny_model, tmp_path, 2, copied, answer_by="rank")
    assert steps == 4


@pytest.fixture
def config(preset, tmp_path, monkeypatch):
    monkeypatch.setitem(tasks._registered, "toy", _task())
    return TuneConfig(
        task="toy",
        preset=preset,
        output=str(tmp_path / "run"),
        prompt_length=3,
        steps=2,
        evaluate_every=2,
        batch_size=4,
        input_length=16,
        target_length=12,
        answer_by="rank",
    )


def test_a_finished_run_is_not_reported_of_other_rows(config, monkeypatch):
    tune(config, verbose=False)
    mended = _task(validation=_OTHER)
    monkeypatch.setitem(tasks._registered, "toy", mended)
    with pytest.raises(ValueError, match="a run with evaluation="):
        tune(config, verbose=False)


def test_a_score_that_is_no_number_prefers_no_label():
    scores = np.array([[-2.0, -1.0], [np.nan, -1.0], [-1.0, -np.inf]])
    assert likeliest(scores, ["a", "b"]) == ["b", "", "a"]


def test_a_diverged_prompt_gives_no_label(tiny_model):
    tiny_model.prompt.embeddings.assign(np.full((3, 16), np.nan, np.float32))
    task = _task()
    rows = task.examples("validation")
    found = evaluate_examples(tiny_model, task, rows, answer_by="rank")
    assert (found.illegal_share, found.score) == (1.0, 0.0)


def test_a_diverged_prompt_never_replaces_a_finite_one(tiny_model):
    prompt = tiny_model.prompt.embeddings.numpy()
    diverged = np.full_like(prompt, np.inf)
    for step, (score, value) in enumerate(
        [(75.0, diverged), (25.0, prompt), (75.0, diverged)]
    ):
        tiny_model.prompt.embeddings.assign(value)
        tiny_model.keep_best("toy", score, step)
    assert (tiny_model.best.score, tiny_model.best.step) == (25.0, 1)
    np.testing.assert_array_equal(tiny_model.best.prompt, prompt)


@pytest.mark.parametrize("method", ["prompt", "model"])
def test_a_run_that_only_diverged_says_so_and_exports_nothing(
    config, tmp_path, method
):
    rate = 1e39  # infinite in float32
    wild = dataclasses.replace(config, method=method, learning_rate=rate)
    with pytest.raises(
        ValueError, match=r"diverged on task 'toy'.*smaller `le"
    ):
        tune(wild, verbose=False)
    assert not (tmp_path / "run" / method).exists()
