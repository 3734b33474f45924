"""A run killed at any moment ends as one never stopped, bit for bit."""

import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import safetensors.numpy

# A whole run: 30 steps on 40 rows, evaluated every 10, saved every 2.
_PROGRAM = textwrap.dedent(
    """
    import sys
    sys.path.insert(0, sys.argv[3])
    from resume_run import run
    run(sys.argv[1], sys.argv[2])
    """
)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory, tiny_tokenizer):
    path = tmp_path_factory.mktemp("vocabulary") / "spiece.model"
    tiny_tokenizer.save(path)
    return path


def start(folder, vocabulary):
    helpers = __file__.rsplit("/", 2)[0] + "/oracles"
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, folder, vocabulary, helpers],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def checkpoint(folder):
    return safetensors.numpy.load_file(folder / "checkpoint.safetensors")


@pytest.mark.slow
def test_runs_killed_at_any_moment_end_bit_equal(tmp_path, vocabulary):
    whole = tmp_path / "whole"
    process = start(whole, vocabulary)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors

    broken = tmp_path / "broken"
    kills = 0
    # Right after a checkpoint appears, in the middle of a step, and later.
    for delay in (0.0, 0.013, 0.05, 0.11):
        process = start(broken, vocabulary)
        path = broken / "checkpoint.safetensors"
        before = path.stat().st_mtime_ns if path.exists() else 0
        while process.poll() is None:
            if path.exists() and path.stat().st_mtime_ns != before:
                time.sleep(delay)
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.001)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills == 4
    process = start(broken, vocabulary)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors

    expected, found = checkpoint(whole), checkpoint(broken)
    assert set(expected) == set(found)
    assert "best_prompt" in found
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert int(found["optimizer/iteration"][0]) == 30
    # Prompt, slot and best prompt: never a copy of the base.
    size = (broken / "checkpoint.safetensors").stat().st_size
    assert size < 3 * 4 * 3 * 16 + 2000
    assert not list(broken.glob(".*"))
