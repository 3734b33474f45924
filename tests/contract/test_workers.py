"""Two workers train as one; killed, they go on from their checkpoint."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors

_PROGRAM = Path(__file__).parents[1] / "oracles" / "worker_run.py"


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(vocabulary, folder, index, ports=()):
    return subprocess.Popen(
        [sys.executable, _PROGRAM, vocabulary, folder, str(index), *ports],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def steps(path):
    if not path.is_file():
        return 0
    with safetensors.safe_open(path, "numpy") as file:
        assert json.loads(file.metadata()["state"])
        return int(file.get_tensor("optimizer/iteration")[0])


@pytest.mark.slow
def test_workers_one_of_which_is_killed_end_with_the_prompt_of_one(
    tmp_path, tiny_tokenizer
):
    vocabulary = tmp_path / "spiece.model"
    tiny_tokenizer.save(vocabulary)
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder in (alone, together):
        folder.mkdir()
    process = start(vocabulary, alone, 0)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "No distribution" in output

    path = together / "checkpoint.safetensors"
    ports = free_ports(2)
    workers = [start(vocabulary, together, i, ports) for i in (0, 1)]
    deadline = time.monotonic() + 300
    while steps(path) < 4 and time.monotonic() < deadline:
        assert all(worker.poll() is None for worker in workers)
        time.sleep(0.005)
    workers[1].send_signal(signal.SIGKILL)
    # The other cannot go on alone, whether it finds out or waits for ever.
    workers[0].send_signal(signal.SIGKILL)
    for worker in workers:
        worker.communicate()
    assert 4 <= steps(path) < 40
    assert not list(together.glob("prompt-*.npy"))

    ports = free_ports(2)
    workers = [start(vocabulary, together, i, ports) for i in (0, 1)]
    for index, worker in enumerate(workers):
        output, errors = worker.communicate(timeout=300)
        assert worker.returncode == 0, errors
        assert (
            f"MultiWorkerMirroredStrategy, worker {index} of 2, 2 replicas"
            in output
        )
    expected = np.load(alone / "prompt-0.npy")
    for index in (0, 1):
        found = np.load(together / f"prompt-{index}.npy")
        np.testing.assert_allclose(
            found, expected, rtol=0, atol=1e-5 * np.abs(expected).max()
        )
    rows = [np.load(together / f"rows-{index}.npy") for index in (0, 1)]
    assert sorted(np.concatenate(rows)) == list(range(23))
