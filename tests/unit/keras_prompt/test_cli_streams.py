"""The command line between closed pipes and on terminals of other encodings."""

import os
import subprocess
import sys

import numpy as np
import pytest

COMMAND = (sys.executable, "-m", "keras_prompt.cli.main")


def call(shell, **environment):
    """Runs `shell` in bash, in which "$@" is the command."""
    return subprocess.run(
        ["bash", "-c", shell, "bash", *COMMAND],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("tasks list >&-", 0, ""),
        ("tasks list 2>&-", 0, "glue/sst2"),
        ("predict --preset t5_1_1_pico_lm <&-", 1, "nothing to answer"),
    ],
)
def test_a_closed_stream_is_nobody_to_talk_to(arguments, code, said):
    done = call(f'"$@" {arguments}')
    assert done.returncode == code
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_sign_that_a_terminal_lacks_is_escaped(tmp_path):
    np.save(tmp_path / "p.npy", np.ones((2, 3), np.float32))
    export = f'"$@" export {tmp_path}/p.npy {tmp_path}/q.npy'
    done = call(export, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path}/q.npy \\xb7 152 bytes\n"


def test_predict_tells_what_is_wrong_before_it_reads_texts():
    command = (*COMMAND, "predict", "--prompt", "nowhere")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stderr=pipe, text=True
    ) as process:
        assert process.wait(timeout=100) == 1  # its input never ends
        assert "No prompt folder at nowhere" in process.stderr.read()
