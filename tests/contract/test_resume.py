"""A run killed at any moment ends as one never stopped, bit for bit."""

import csv
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import safetensors.numpy

from keras_prompt.export.prompt import read_prompt

# A whole run: 30 steps on 40 rows, evaluated every 10, saved every 2.
_PROGRAM = textwrap.dedent(
    """
    import sys
    sys.path.insert(0, sys.argv[4])
    import resume_run
    getattr(resume_run, sys.argv[3])(sys.argv[1], sys.argv[2])
    """
)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory, tiny_tokenizer):
    path = tmp_path_factory.mktemp("vocabulary") / "spiece.model"
    tiny_tokenizer.save(path)
    return path


def start(folder, model, run):
    helpers = __file__.rsplit("/", 2)[0] + "/oracles"
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, folder, model, run, helpers],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(folder, model, run):
    process = start(folder, model, run)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return safetensors.numpy.load_file(folder / "checkpoint.safetensors")


def kill(folder, model, run, delays):
    """Starts and kills a run: so many seconds after a checkpoint appears."""
    for delay in delays:
        process = start(folder, model, run)
        path = folder / "checkpoint.safetensors"
        before = path.stat().st_mtime_ns if path.exists() else 0
        while process.poll() is None:
            if path.exists() and path.stat().st_mtime_ns != before:
                time.sleep(delay)
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.001)
        process.communicate()
        assert process.returncode == -signal.SIGKILL


def assert_equal(found, expected):
    assert set(expected) == set(found)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert int(found["optimizer/iteration"][0]) == 30


@pytest.mark.slow
def test_runs_killed_at_any_moment_end_bit_equal(tmp_path, vocabulary):
    expected = finish(tmp_path / "whole", vocabulary, "run")
    broken = tmp_path / "broken"
    # Right after a checkpoint appears, in the middle of a step, and later.
    kill(broken, vocabulary, "run", (0.0, 0.013, 0.05, 0.11))
    found = finish(broken, vocabulary, "run")
    assert_equal(found, expected)
    assert "best_prompt" in found
    # Prompt, slot and best prompt: never a copy of the base.
    size = (broken / "checkpoint.safetensors").stat().st_size
    assert size < 3 * 4 * 3 * 16 + 2000
    assert not list(broken.glob(".*"))


@pytest.mark.slow
def test_a_killed_run_of_several_tasks_ends_bit_equal(tmp_path, preset):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    expected = finish(whole, preset, "run_bank")
    kill(broken, preset, "run_bank", (0.0, 0.05))
    assert_equal(finish(broken, preset, "run_bank"), expected)
    for name in ("set.a", "set.b"):
        found, whole_one = (
            read_prompt(folder / "prompts" / name) for folder in (broken, whole)
        )
        np.testing.assert_array_equal(found.prompt, whole_one.prompt)
        assert found.card.score == whole_one.card.score
    found, expected = (
        (folder / "history.csv").read_text() for folder in (broken, whole)
    )
    assert len(found.splitlines()) == 1 + 3
    assert column(found, "val_score") == column(expected, "val_score")


def column(table, name):
    return [row[name] for row in csv.DictReader(table.splitlines())]
