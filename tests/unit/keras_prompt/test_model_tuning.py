"""`tune --method model`, and evaluation without a prompt."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from command_line import run

from keras_prompt import tasks
from keras_prompt.models.checkpoints import hugging_face
from keras_prompt.models.plain_t5 import PlainT5
from keras_prompt.tasks.sources import RowsSource
from keras_prompt.tasks.task import Task
from keras_prompt.training.config import TuneConfig
from keras_prompt.training.evaluation import evaluate_examples
from keras_prompt.training.run_folder import CHECKPOINT
from keras_prompt.training.tune import tune

pytestmark = pytest.mark.usefixtures("keep_stderr")


@pytest.fixture
def task(registered):
    rows = [
        {
            "inputs": f"the film is {'wonderful' if i % 3 else 'dull'} {i}",
            "targets": "positive" if i % 3 else "negative",
        }
        for i in range(20)
    ]
    source = RowsSource({"train": rows, "validation": rows[:6]})
    return tasks.register(
        Task("films", source, labels=("negative", "positive"))
    )


@pytest.fixture
def config(task, preset, tmp_path):
    return TuneConfig(
        task=task.name,
        preset=preset,
        output=str(tmp_path / "run"),
        method="model",
        learning_rate=0.05,
        steps=6,
        evaluate_every=3,
        checkpoint_every=1,
        batch_size=4,
        input_length=16,
        target_length=12,
        answer_by="rank",
        dropout_rate=0.1,
    )


def test_the_outcome_is_a_model_that_scores_as_the_run_says(config, task):
    result = tune(config, verbose=False)
    assert result.folder == f"{config.output}/model"
    assert (result.method, result.steps) == ("model", 6)
    model = PlainT5.from_preset(result.folder)
    found = evaluate_examples(
        model, task, task.examples("validation"), answer_by="rank"
    )
    assert found.score == result.score
    assert found.prompt_rms is None
    card = json.loads((Path(config.output) / "result.json").read_text())
    assert card["folder_bytes"] == sum(
        path.stat().st_size for path in Path(result.folder).iterdir()
    )
    base = PlainT5.from_preset(config.preset)
    assert base.backbone.fingerprint() != model.backbone.fingerprint()


def test_the_best_model_is_kept_not_the_last(config):
    # Both evaluations score the same, so the second is no better.
    result = tune(dataclasses.replace(config, learning_rate=1.0), verbose=False)
    state = safetensors.numpy.load_file(
        Path(config.output) / "checkpoint.safetensors"
    )
    stored = hugging_face.read(Path(result.folder))
    name = "shared/embedding"
    best, last = state[f"best_weights/{name}"], state[f"weights/{name}"]
    np.testing.assert_array_equal(stored.weights(name), best)
    assert (result.best_step, result.steps) == (3, 6)
    assert not np.array_equal(best, last)


def test_a_stopped_run_ends_bit_equal_to_one_never_stopped(config, tmp_path):
    tune(dataclasses.replace(config, steps=3), verbose=False)
    result = tune(config, verbose=False)
    whole = tune(
        dataclasses.replace(config, output=str(tmp_path / "whole")),
        verbose=False,
    )
    assert result.score == whole.score
    for name in ("checkpoint.safetensors", "model/model.safetensors"):
        found, expected = (
            safetensors.numpy.load_file(tmp_path / folder / name)
            for folder in ("run", "whole")
        )
        assert found.keys() == expected.keys()
        for key in found:
            np.testing.assert_array_equal(found[key], expected[key], key)


def test_the_paper_s_rates_are_the_defaults(config):
    def rate(method):
        return dataclasses.replace(
            config, method=method, learning_rate=None
        ).rate

    assert (rate("prompt"), rate("model")) == (0.3, 0.001)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "modle"}, "Did you mean 'model'"),
        ({"dtype": "bfloat16"}, "`dtype` must be 'float32' or 'mixed_bf"),
    ],
)
def test_wrong_settings_are_refused(config, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(config, **change)


def test_a_model_s_run_is_not_a_prompt_s(config):
    folder = config.claim_output()
    dataclasses.replace(config, learning_rate=0.01).claim_output()
    config.claim_output()  # nothing is saved yet
    (folder / CHECKPOINT).touch()
    with pytest.raises(ValueError, match="method='model'; this one has"):
        dataclasses.replace(config, method="prompt").claim_output()


def test_from_the_command_line_to_an_evaluation(capsys, task, preset, tmp_path):
    folder = tmp_path / "run"
    code, out, _ = run(
        capsys,
        *("tune", task.name, "--method", "model", "--preset", preset),
        *("--output", folder, "--steps", 1, "--evaluate-every", 1),
        *("--target-length", 12, "--answer-by", "rank"),
    )
    assert code == 0
    assert f"the split that chose the model) · {folder}/model" in out
    evaluate = ("evaluate", "--task", task.name, "--answer-by", "rank")
    tuned = json.loads(
        run(capsys, *evaluate, "--preset", f"{folder}/model", "--json")[1]
    )
    result = json.loads((folder / "result.json").read_text())
    assert tuned["metrics"] == result["metrics"]
    code, out, _ = run(capsys, *evaluate, "--preset", preset)
    assert code == 0
    assert out.startswith("films validation · accuracy ")
    assert "prompt rms" not in out
    code, out, _ = run(
        capsys, "predict", "--preset", preset, "--target-length", 3, "a film"
    )
    assert (code, len(out.splitlines())) == (0, 1)
    code, _, err = run(capsys, "export", folder, tmp_path / "prompt")
    assert code == 1
    assert f"a finished run has it in {folder}/model" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["tune", "films", "--method", "model", "--prompt-length", "2"],
            "--prompt-length is of prompt tuning",
        ),
        (
            ["tune", "films", "--method", "model", "--initial-prompt", "x"],
            "--initial-prompt is of prompt tuning",
        ),
        (["evaluate", "--task", "films"], "Give --prompt, or --preset"),
        (["evaluate"], "Give --task"),
        (["predict", "text"], "Give --prompt, or --preset"),
        (
            ["predict", "--answer-by", "rank", "text"],
            "no prompt whose card has label words",
        ),
    ],
)
@pytest.mark.usefixtures("task")
def test_what_does_not_go_together_is_one_line(
    capsys, preset, tmp_path, arguments, message
):
    if arguments[0] == "tune" or "rank" in arguments:
        arguments = [*arguments, "--preset", preset]
    if arguments[0] == "tune":
        arguments = [*arguments, "--output", str(tmp_path / "run")]
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (1, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()
