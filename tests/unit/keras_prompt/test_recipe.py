"""The paper's recipe: what a run does unless it is told otherwise."""

import dataclasses
import re

import pytest
from command_line import run

from keras_prompt import tasks
from keras_prompt.losses import TokenCrossentropy
from keras_prompt.training import tune, tune_bank
from keras_prompt.training.config import TuneConfig
from keras_prompt.training.recipe import compile_model

# By a setting: Lester et al. 2021's, and how `keras-prompt tune` says it.
_PAPERS = {
    "prompt_length": (100, r"\(100\)"),
    "initial_prompt": ("class_labels", r"class_labels \(default\)"),
    "steps": (30_000, r"\(30000\)"),
    "evaluate_every": (1000, r"\(1000\)"),
    "batch_size": (32, r"\(32\)"),
    "learning_rate": (0.3, r"\(0\.3; with --method model 0\.001\)"),
    "input_length": (512, r"\(512\)"),
    "step_offset": (0, r"\(0\)"),
}


def test_the_defaults_are_the_papers():
    config = TuneConfig("task", "preset", "output")
    found = {name: getattr(config, name) for name in _PAPERS}
    assert found == {name: value for name, (value, _) in _PAPERS.items()}


@pytest.mark.usefixtures("keep_stderr")
def test_the_help_says_the_defaults(capsys):
    text = " ".join(run(capsys, "tune", "--help")[1].split())
    for name, (_, shown) in _PAPERS.items():
        option = f"--{name.replace('_', '-')} {name.upper()}"
        assert re.search(rf"{option} [^()]*{shown}", text), option


@pytest.fixture
def config(registered, preset):
    for name in ("films", "dogs"):
        rows = [{"inputs": "the film is dull", "targets": "negative"}]
        source = tasks.RowsSource({"train": rows})
        tasks.register(
            tasks.Task(name, source, labels=("negative", "positive"))
        )
    return TuneConfig("films", preset, "output", prompt_length=3)


@pytest.mark.parametrize(
    ("method", "rate", "scaled", "decay"),
    [("prompt", 0.3, False, 1e-5), ("model", 0.001, True, 0.0)],
)
def test_the_optimizer_is_the_papers_of_either_method(
    config, tiny_model, method, rate, scaled, decay
):
    config = dataclasses.replace(
        config, method=method, learning_rate=None, step_offset=-1_100_000
    )
    compile_model(config, tiny_model)
    optimizer = tiny_model.optimizer
    assert float(optimizer.learning_rate) == pytest.approx(rate)
    assert optimizer.scale_by_parameter_size is scaled
    assert optimizer.decay_per_step == decay
    assert optimizer.step_offset == -1_100_000
    assert isinstance(tiny_model.loss, TokenCrossentropy)


def test_a_positive_step_offset_is_refused(config):
    with pytest.raises(ValueError, match="`step_offset` must not be positive"):
        dataclasses.replace(config, step_offset=1)


@pytest.mark.parametrize("offset", [-(2**31), -(10**400), -1.5])
def test_a_step_offset_out_of_int32_is_refused(config, offset):
    with pytest.raises(
        ValueError,
        match="`step_offset` must be an integer of at least -2,147,483,647",
    ):
        dataclasses.replace(config, step_offset=offset)
    lowest = dataclasses.replace(config, step_offset=1 - 2**31)
    assert lowest.step_offset == -2_147_483_647


def test_dropout_reaches_the_model_whatever_is_tuned(config):
    config = dataclasses.replace(config, dropout_rate=0.25)
    task = tasks.get("films")
    for method in ("prompt", "model"):
        made = tune._model(dataclasses.replace(config, method=method), task)
        assert made.backbone.dropout_rate == 0.25
    made = tune_bank._model(config, [task, tasks.get("dogs")])
    assert made.backbone.dropout_rate == 0.25
