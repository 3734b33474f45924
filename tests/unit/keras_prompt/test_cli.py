"""The command: what it prints, and how it fails."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from command_line import run

from keras_prompt.cli import main as cli
from keras_prompt.export.prompt import export_prompt

pytestmark = pytest.mark.usefixtures("keep_stderr")


@pytest.fixture
def prompt(tiny_model, tmp_path):
    folder = tmp_path / "prompt"
    export_prompt(
        tiny_model, folder, label_words=("positive", "negative"), task="x"
    )
    return str(folder)


def test_every_verb_has_an_example(capsys):
    for verb in cli._VERBS:
        with pytest.raises(SystemExit, match="0"):
            cli.main([verb, "--help"])
        assert f"example: keras-prompt {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("pretrain", "square (T5's 1 / sqrt(max(step, warm-up)))"),
        ("pretrain", "rounded up to a multiple of 64"),
        ("adapt", "square (0.001)"),
        ("tune", "from_text:TEXT"),
    ],
)
def test_help_names_defaults_and_choices(capsys, verb, words):
    with pytest.raises(SystemExit, match="0"):
        cli.main([verb, "--help"])
    assert words in " ".join(capsys.readouterr().out.split())


_HOOKS = """
import gc, sys
from keras_prompt.cli.quiet import import_tensorflow
def ours(*_): pass
gc.callbacks.append(ours)
import_tensorflow()
import seqio  # as a task does, in the command's first seconds
assert "jax" in sys.modules
print(*(hook.__qualname__ for hook in gc.callbacks), sep=",", file=sys.stderr)
"""


def test_no_hook_of_jax_is_there_to_drop_an_interrupt():
    found = subprocess.run(
        [sys.executable, "-c", _HOOKS],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stderr.splitlines()[-1] == "ours"


def test_models_and_tasks_are_listed(capsys):
    code, out, _ = run(capsys, "models", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["t5_1_1_xxl_lm100k"]["parameters"] == 11_135_332_352
    assert rows["t5_1_1_nano_lm"]["ships"]
    code, out, _ = run(capsys, "tasks", "--json")
    assert {"super_glue/boolq", "glue/sst2", "squad"} <= set(json.loads(out))


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_predict_answers_each_text(capsys, preset, prompt, dtype):
    code, out, _ = run(
        capsys,
        "predict",
        "--preset",
        preset,
        "--prompt",
        prompt,
        "--answer-by",
        "rank",
        "--dtype",
        dtype,
        "--json",
        "a film",
        "a dull film",
    )
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [row["input"] for row in rows] == ["a film", "a dull film"]
    assert {row["output"] for row in rows} <= {"positive", "negative"}


def test_inspect_shows_card_size_and_neighbours(
    capsys, preset, prompt, tiny_model
):
    code, out, _ = run(capsys, "inspect", prompt, "--preset", preset)
    assert code == 0
    rms = float(np.sqrt(np.mean(np.square(tiny_model.prompt.embeddings))))
    assert f"{rms:.6g}\n" in out
    assert "nearest vocabulary" in out
    code, out, _ = run(capsys, "inspect", prompt, "--json")
    assert json.loads(out)["prompt_length"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["predict", "--prompt", "nowhere", "x"],
            "No prompt folder at nowhere",
        ),
        (
            ["tune", "super_glue/bolq", "--preset", "p", "--output", "o"],
            "Did you mean 'super_glue/boolq'",
        ),
        (["export", "nowhere", "there"], "No run and no prompt at nowhere"),
        (
            ["pretrain", "a.txt", "--vocabulary", "v", "--output", "o"],
            "No text file at a.txt",
        ),
        (
            ["adapt", "a.txt", "--base", "b", "--output", "o"],
            "Unknown preset 'b'",
        ),
    ],
)
def test_a_users_error_is_one_line_and_an_exit_code(
    capsys, arguments, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("keras-prompt: error: ")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_process_prints_no_chatter(preset, prompt):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "keras_prompt.cli.main",
            "predict",
            "--preset",
            preset,
            "--prompt",
            prompt,
            "--answer-by",
            "rank",
            "a film",
        ],
        capture_output=True,
        text=True,
        check=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("TF_")},
    )
    assert done.stdout.strip() in ("positive", "negative")
    assert done.stderr == ""
