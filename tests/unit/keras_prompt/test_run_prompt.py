"""A run's prompt, exported where its task or its model is not at hand."""

import dataclasses
import shutil

import numpy as np
import pytest
from command_line import run

from keras_prompt import tasks
from keras_prompt.prompt_files import read_prompt
from keras_prompt.training.config import TuneConfig
from keras_prompt.training.run_prompt import read_run_prompt
from keras_prompt.training.tune import tune
from keras_prompt.training.tune_bank import tune_bank

pytestmark = pytest.mark.usefixtures("keep_stderr")

ROWS = [
    {"inputs": "the film is a delight", "targets": "positive"},
    {"inputs": "a dull and tedious film", "targets": "negative"},
]
NAMES = ("films", "set/dogs")


@pytest.fixture
def make_config(preset, tmp_path, registered):
    """Settings of a run of two steps; its tasks are registered."""
    source = tasks.RowsSource({"train": ROWS, "validation": ROWS})
    for name in NAMES:
        tasks.register(
            tasks.Task(name, source, labels=("negative", "positive"))
        )

    def make(task):
        return TuneConfig(
            task,
            preset,
            str(tmp_path / "run"),
            prompt_length=2,
            steps=2,
            evaluate_every=1,
            batch_size=2,
        )

    return make


def test_a_prompt_of_a_task_no_longer_registered_keeps_its_card(
    make_config, tmp_path, monkeypatch
):
    result = tune(make_config("films"), verbose=False)
    finished = read_prompt(result.folder)
    monkeypatch.setattr(tasks, "_registered", {})
    found = read_run_prompt(tmp_path / "run")
    assert found.card.label_words == ("negative", "positive")
    assert found.card.metrics == result.metrics
    assert set(found.card.metrics) == {"accuracy"}
    np.testing.assert_array_equal(found.prompt, finished.prompt)
    last = read_run_prompt(tmp_path / "run", last=True)
    assert last.card.metrics == {}  # nobody asks what the present one scores


def test_a_bank_s_prompt_keeps_its_card_too(make_config, tmp_path, monkeypatch):
    result = tune_bank(make_config(NAMES), verbose=False)
    monkeypatch.setattr(tasks, "_registered", {})
    card = read_run_prompt(tmp_path / "run", "set/dogs").card
    assert card.label_words == ("negative", "positive")
    assert card.metrics == result.tasks["set/dogs"].metrics


def test_label_words_that_nobody_knows_are_told(
    make_config, tmp_path, monkeypatch
):
    tune(make_config("films"), verbose=False)
    shutil.rmtree(tmp_path / "run" / "prompt")  # as of a run still under way
    monkeypatch.setattr(tasks, "_registered", {})
    with pytest.warns(
        UserWarning, match="the prompt's card has no label words"
    ):
        card = read_run_prompt(tmp_path / "run").card
    assert card.label_words == ()


def test_a_run_is_exported_from_anywhere(
    capsys, make_config, preset, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    config = make_config("films")
    tune(dataclasses.replace(config, preset="./tiny"), verbose=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    export = ("export", tmp_path / "run", "prompt")
    code, out, err = run(capsys, *export)
    assert (code, out) == (1, "")
    assert "run was tuned on is not here: " in err
    assert "say with `preset` where" in err
    assert not (tmp_path / "elsewhere" / "prompt").exists()
    code, _, err = run(capsys, *export, "--preset", preset)
    assert (code, err) == (0, "")
    np.testing.assert_array_equal(
        read_prompt("prompt").prompt, read_prompt("../run/prompt").prompt
    )


def test_another_model_in_its_place_is_refused(
    make_config, write_preset, tiny_model, tmp_path
):
    tune(make_config("films"), verbose=False)
    table = tiny_model.backbone.weight("shared/embedding")
    table.assign(table.numpy() + 1)
    other = write_preset(tiny_model, tmp_path / "other")
    with pytest.raises(ValueError, match="a checkpoint of another base"):
        read_run_prompt(tmp_path / "run", preset=other)
