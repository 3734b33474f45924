"""`tune` with several tasks: one fit, a prompt and a result for each."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
from command_line import run

from keras_prompt import tasks
from keras_prompt.export.prompt import read_prompt
from keras_prompt.export.request_prompts import read_row_prompts
from keras_prompt.layers.prompt_bank import PromptBank
from keras_prompt.training.bank_evaluator import BankEvaluator
from keras_prompt.training.checkpoint import PromptCheckpoint
from keras_prompt.training.config import TuneConfig
from keras_prompt.training.evaluation import Evaluation
from keras_prompt.training.run_folder import CHECKPOINT
from keras_prompt.training.tune import tune
from keras_prompt.training.tune_bank import tune_bank

NAMES = ("set/films", "set/dogs+big")
FOLDERS = ("set.films", "set.dogs.big")
pytestmark = pytest.mark.usefixtures("keep_stderr")


@pytest.fixture(autouse=True)
def _tasks(registered):
    for name, subject, labels in zip(
        NAMES,
        ("the film is", "a dog"),
        (("positive", "negative"), ("True", "False", "a")),
        strict=True,
    ):
        rows = [
            {
                "inputs": f"{subject}{' very' * (i % 3)} dull {i}",
                "targets": labels[i % len(labels)],
            }
            for i in range(9)
        ]
        source = tasks.RowsSource({"train": rows, "validation": rows[:5]})
        tasks.register(tasks.Task(name, source, labels=labels))


@pytest.fixture
def config(preset, tmp_path):
    return TuneConfig(
        task=NAMES,
        preset=preset,
        output=str(tmp_path / "mix"),
        prompt_length=3,
        steps=6,
        evaluate_every=3,
        checkpoint_every=100,
        batch_size=4,
        learning_rate=0.05,
        input_length=16,
        target_length=12,
        answer_by="rank",
    )


def changed(config, tmp_path, **settings):
    output = str(tmp_path / "_".join(map(str, settings.values())))
    return dataclasses.replace(config, output=output, **settings)


def state(folder):
    path = Path(folder) / "checkpoint.safetensors"
    return safetensors.numpy.load_file(path)


def test_every_task_comes_to_what_a_run_of_its_own_comes_to(config, tmp_path):
    result = tune_bank(config, verbose=False)
    assert list(result.tasks) == list(NAMES)
    assert result.steps == 6
    prompts = state(config.output)
    for index, name in enumerate(NAMES):
        alone = changed(config, tmp_path, task=name, seed=0)
        alone = dataclasses.replace(
            alone, output=str(tmp_path / f"alone{index}")
        )
        expected = tune(alone, verbose=False)
        found = result.tasks[name]
        apart = {"folder": "", "folder_bytes": 0, "score": 0, "metrics": 0}
        assert dataclasses.replace(found, **apart) == dataclasses.replace(
            expected, **apart
        )
        assert found.score == pytest.approx(expected.score)
        assert found.metrics == pytest.approx(expected.metrics)
        np.testing.assert_allclose(
            prompts[f"prompt/{name}"], state(alone.output)["prompt"], 1e-4, 1e-4
        )
    scores = [one.score for one in result.tasks.values()]
    assert result.score == pytest.approx(np.mean(scores))


def test_every_best_prompt_lies_where_a_server_looks_for_it(config):
    result = tune_bank(config, verbose=False)
    root = Path(config.output) / "prompts"
    assert sorted(path.name for path in root.iterdir()) == sorted(FOLDERS)
    best = state(config.output)
    card = read_prompt(root / FOLDERS[0]).card
    rows = read_row_prompts(
        tf.constant(str(root)),
        tf.constant(FOLDERS),
        d_model=card.d_model,
        fingerprint=card.fingerprint,
    )
    assert rows.status.numpy().tolist() == [b"ok", b"ok"]
    bank = PromptBank.load([one.folder for one in result.tasks.values()])
    assert bank.names == list(NAMES)
    for row, name in enumerate(NAMES):
        expected = best[f"best_prompt/{name}"]
        np.testing.assert_array_equal(rows.vectors[row], expected)
        np.testing.assert_array_equal(bank.prompts[name], expected)
        card, one = bank.cards[name], result.tasks[name]
        assert (card.score, card.steps, card.metrics) == (
            one.score,
            one.best_step,
            one.metrics,
        )
        assert card.label_words == tasks.get(name).labels


def test_each_result_is_of_its_own_best_step(config, monkeypatch):
    scores = {NAMES[0]: [50.0, 90.0, 10.0], NAMES[1]: [70.0, 70.0, 20.0]}

    def answer(self, **options):
        step = int(self.model.optimizer.iterations)
        return {
            name: Evaluation(
                score=each[step - 1],
                metrics={"f1": each[step - 1] - 5, "f2": each[step - 1] + 5},
                majority={"f1": 1.0},
                illegal_share=0.1 * step,
                prompt_rms=1.0,
                outputs=[],
            )
            for name, each in scores.items()
        }

    monkeypatch.setattr(BankEvaluator, "answer", answer)
    config = dataclasses.replace(config, steps=3, evaluate_every=1)
    films, dogs = tune_bank(config, verbose=False).tasks.values()
    assert (films.score, films.best_step) == (90, 2)
    assert films.metrics == {"f1": 85, "f2": 95}
    assert films.illegal_share == pytest.approx(0.2)
    # Of equals, the first.
    assert (dogs.score, dogs.best_step) == (70, 1)
    assert dogs.metrics == {"f1": 65, "f2": 75}
    assert read_prompt(dogs.folder).card.metrics == dogs.metrics


@pytest.mark.parametrize("several", [False, True])
def test_an_interrupted_run_is_saved_and_ends_bit_equal(
    config, tmp_path, monkeypatch, several
):
    run = tune_bank if several else tune
    task = NAMES if several else NAMES[0]
    config = dataclasses.replace(config, task=task)
    whole = changed(config, tmp_path, checkpoint_every=99)
    expected = run(whole, verbose=False)

    def interrupt(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PromptCheckpoint, "on_train_batch_end", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(config, verbose=False)
    assert int(state(config.output)["optimizer/iteration"][0]) == 5
    found = run(config, verbose=False)
    assert found.score == expected.score
    before, after = state(whole.output), state(config.output)
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, name)
    with (Path(config.output) / "history.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["3", "6"]


def command(config, *extra):
    return (
        *("tune", *NAMES, "--preset", config.preset),
        *("--output", config.output, "--steps", 2, "--evaluate-every", 1),
        *("--prompt-length", 3, "--batch-size", 2, "--target-length", 12),
        *("--answer-by", "rank", *extra),
    )


def test_the_command_prints_a_line_a_task_and_exports_each(
    capsys, config, tmp_path
):
    code, out, _ = run(capsys, *command(config))
    assert code == 0
    lines = out.splitlines()
    assert [line.split(": score ")[0] for line in lines[-2:]] == list(NAMES)
    assert f"· {config.output}/prompts/{FOLDERS[1]} · " in lines[-1]
    assert "step 1 · set/dogs+big · accuracy" in out
    # Nothing is left to do, and the same comes of it.
    code, out, err = run(capsys, *command(config, "--json"))
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert code == 0
    stored = json.loads((Path(config.output) / "result.json").read_text())
    assert result == stored
    score = result["tasks"]["set/films"]["score"]
    assert lines[-2].startswith(f"set/films: score {score:.1f} at step ")

    export = ("export", config.output, tmp_path / "exported")
    code, _, err = run(capsys, *export)
    assert code == 1
    assert "choose one with `task`: set/films, set/dogs+big." in err
    code, _, err = run(capsys, *export, "--task", "set/dogs")
    assert code == 1
    assert "Did you mean 'set/dogs+big'" in err
    assert not (tmp_path / "exported").exists()
    assert run(capsys, *export, "--task", NAMES[1])[0] == 0
    prompt, card = read_prompt(tmp_path / "exported")
    np.testing.assert_array_equal(
        prompt, read_prompt(result["tasks"][NAMES[1]]["folder"]).prompt
    )
    assert card.task == NAMES[1]


def test_a_prompt_is_exported_whatever_the_run_s_settings(
    capsys, config, tmp_path
):
    extra = ("--decay-steps", 2, "--dropout-rate", 0.1, "--json")
    result = json.loads(run(capsys, *command(config, *extra))[1])
    exported = tmp_path / "exported"
    export = ("export", config.output, exported, "--task", NAMES[1])
    code, _, err = run(capsys, *export)
    assert (code, err) == (0, "")
    np.testing.assert_array_equal(
        read_prompt(exported).prompt,
        read_prompt(result["tasks"][NAMES[1]]["folder"]).prompt,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["set/films"], "none twice. Received: task=('set/films',"),
        (["set/film"], "Did you mean 'set/films'"),
        (["--method", "model"], "must be 'prompt' for several tasks"),
    ],
)
def test_tasks_that_do_not_go_together_are_one_line(
    capsys, config, arguments, message
):
    place = ("--preset", config.preset, "--output", config.output)
    code, out, err = run(capsys, "tune", *NAMES, *arguments, *place)
    assert (code, out) == (1, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not Path(config.output).exists()


def test_other_tasks_or_another_order_in_a_folder_are_refused(config):
    folder = config.claim_output()
    dataclasses.replace(config, task=NAMES[::-1]).claim_output()
    config.claim_output()  # nothing is saved yet
    (folder / CHECKPOINT).touch()
    dataclasses.replace(config, task=list(NAMES)).claim_output()
    for other in (NAMES[::-1], NAMES[:1], NAMES[0]):
        with pytest.raises(ValueError, match="holds a run with task="):
            dataclasses.replace(config, task=other).claim_output()


def test_one_task_and_several_are_told_apart(config):
    with pytest.raises(ValueError, match="`tune_bank` takes several"):
        tune(config, verbose=False)
    one = dataclasses.replace(config, task=NAMES[0])
    with pytest.raises(ValueError, match="`tune` takes one"):
        tune_bank(one, verbose=False)
    tasks.register(dataclasses.replace(tasks.get(NAMES[0]), name="set.films"))
    alike = dataclasses.replace(config, task=("set.films", "set/films"))
    with pytest.raises(ValueError, match="a name of its own to be served by"):
        tune_bank(alike, verbose=False)
    assert not Path(config.output).exists()


@pytest.mark.parametrize(
    "names", [("score", "set/films"), ("set/films", "set/films:dull")]
)
def test_names_that_logs_have_for_other_things_are_refused(config, names):
    """Before they are looked for: none of them is a task."""
    with pytest.raises(ValueError, match="No task's name may be 'score'"):
        tune_bank(dataclasses.replace(config, task=names), verbose=False)
    one = tasks.get(NAMES[0])
    with pytest.raises(ValueError, match="No task's name may be 'score'"):
        BankEvaluator([dataclasses.replace(one, name=name) for name in names])
    assert not Path(config.output).exists()


@pytest.mark.parametrize("place", [f"prompts/{FOLDERS[1]}/notes", "prompts"])
def test_a_place_that_is_taken_is_refused_before_the_model_is_read(
    config, place
):
    taken = Path(config.output) / place
    taken.parent.mkdir(parents=True)
    taken.write_text("mine")
    config = dataclasses.replace(config, preset="absent/folder")
    with pytest.raises(ValueError, match=r"/prompts.*Choose another"):
        tune_bank(config, verbose=False)
    assert taken.read_text() == "mine"
    assert not (Path(config.output) / "config.json").exists()
