"""Pre-training killed at any moment ends as if never stopped."""

import json
import signal
import subprocess
import sys
import time

import pytest

EVERY, STEPS = 2, 8


@pytest.fixture(scope="module")
def arguments(tmp_path_factory, tiny_tokenizer):
    """Of a run of 8 steps, validated and saved every 2."""
    folder = tmp_path_factory.mktemp("inputs")
    corpus = folder / "corpus.txt"
    corpus.write_text(
        "\n\n".join(f"the film {i} is a delight " * 20 for i in range(300))
    )
    tiny_tokenizer.save(folder / "spiece.model")
    sizes = ("d-model", "d-kv", "d-ff", "num-heads")
    return [
        *("pretrain", corpus, "--vocabulary", folder / "spiece.model"),
        *("--steps", STEPS, "--evaluate-every", EVERY, "--batch-size", 4),
        *("--micro-batches", 2, "--clip-norm", 1, "--decay-steps", 3),
        *("--input-length", 32, "--json"),
        *(part for size in sizes for part in (f"--{size}", 8)),
    ]


def start(arguments, folder):
    command = [sys.executable, "-m", "keras_prompt.cli.main", *arguments]
    return subprocess.Popen(
        list(map(str, [*command, "--output", folder])),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return json.loads(out)


@pytest.mark.slow
def test_pretraining_killed_at_any_moment_ends_bit_equal(tmp_path, arguments):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    expected = finish(start(arguments, whole))

    path = broken / "checkpoint.safetensors"
    # Right after a checkpoint appears, and in the middle of the next steps.
    for delay in (0.0, 0.02):
        process = start(arguments, broken)
        before = path.stat().st_mtime_ns if path.exists() else 0
        while process.poll() is None:
            if path.exists() and path.stat().st_mtime_ns != before:
                time.sleep(delay)
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.001)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    found = finish(start(arguments, broken))

    for name in ("checkpoint.safetensors", "model/model.safetensors"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    assert found["val_loss"] == expected["val_loss"]
    assert found["steps"] == STEPS
    rows = (broken / "history.csv").read_text().splitlines()
    assert len(rows) == 1 + STEPS // EVERY
    assert not list(broken.glob(".*"))
