"""Keras on another backend than TensorFlow is told, not run into."""

import importlib.util
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="needs another backend"
)
_BACKBONE = """
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config
MeshT5Backbone(T5Config(16, 4, 4, 4, 1, 1, 1))
"""


def on_jax(*arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_backbone_says_which_backend_keras_must_run_on():
    done = on_jax("-c", _BACKBONE)
    assert done.returncode == 1
    *_, last = done.stderr.splitlines()
    assert last.startswith(
        "ValueError: Keras must run on TensorFlow. Set KERAS"
    )
    assert last.endswith("Received: 'jax'")


@pytest.mark.slow
def test_the_command_line_runs_on_tensorflow_whatever_is_set():
    command = ("-m", "keras_prompt.cli.main", "predict", "a film", "--preset")
    done = on_jax(*command, "t5_1_1_pico_lm")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()
