"""Which strategy is chosen, and what is said about it."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import tensorflow as tf

from keras_prompt.training import strategy as module
from keras_prompt.training.strategy import get_strategy


@pytest.fixture(autouse=True)
def _bare_machine(monkeypatch):
    """No TPU, no GPU, no workers, whatever this machine has."""
    for name in ("TF_CONFIG", *module._TPU_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "_TPU_DEVICES", ())
    give_gpus(monkeypatch, 0)


def give_gpus(monkeypatch, count):
    monkeypatch.setattr(
        tf.config,
        "list_physical_devices",
        lambda kind=None: ["gpu"] * count if kind == "GPU" else ["cpu"],
    )


def give_strategy(monkeypatch, name, replicas):
    chosen = SimpleNamespace(num_replicas_in_sync=replicas)
    monkeypatch.setattr(tf.distribute, name, lambda *arguments: chosen)
    return chosen


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def test_one_device_is_no_distribution(capsys):
    assert get_strategy() is tf.distribute.get_strategy()
    assert lines(capsys) == [
        "No distribution: no TPU and no GPU on this machine."
    ]


def test_one_gpu_is_no_distribution(monkeypatch, capsys):
    give_gpus(monkeypatch, 1)
    assert get_strategy() is tf.distribute.get_strategy()
    assert lines(capsys) == [
        "No distribution: one GPU and no TPU on this machine."
    ]


def test_several_gpus_are_mirrored(monkeypatch, capsys):
    give_gpus(monkeypatch, 4)
    chosen = give_strategy(monkeypatch, "MirroredStrategy", 4)
    assert get_strategy() is chosen
    assert lines(capsys) == ["MirroredStrategy: 4 GPUs on this machine."]


def test_workers_come_before_the_gpus_of_one(monkeypatch, capsys):
    give_gpus(monkeypatch, 2)
    config = {
        "cluster": {"worker": ["a:1", "b:1", "c:1"]},
        "task": {"type": "worker", "index": 2},
    }
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    chosen = give_strategy(monkeypatch, "MultiWorkerMirroredStrategy", 6)
    assert get_strategy() is chosen
    assert lines(capsys) == [
        "MultiWorkerMirroredStrategy, worker 2 of 3, 6 replicas: TF_CONFIG "
        "names the workers."
    ]


@pytest.mark.parametrize("text", ["{", "[1]", '{"cluster": []}'])
def test_a_malformed_cluster_is_refused(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="`TF_CONFIG` must be a JSON object"):
        get_strategy()


def test_one_worker_is_no_cluster(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1"]}}')
    assert get_strategy() is tf.distribute.get_strategy()


@pytest.mark.parametrize("replicas", [1, 4, 8])
def test_a_tpu_comes_first_with_as_many_cores_as_it_has(
    monkeypatch, capsys, replicas
):
    give_gpus(monkeypatch, 2)
    monkeypatch.setenv("TPU_NAME", "local")
    asked = []
    resolvers = tf.distribute.cluster_resolver
    monkeypatch.setattr(
        resolvers, "TPUClusterResolver", lambda tpu: asked.append(tpu)
    )
    for owner, name in (
        (tf.config, "experimental_connect_to_cluster"),
        (tf.tpu.experimental, "initialize_tpu_system"),
    ):
        monkeypatch.setattr(owner, name, lambda resolver: None)
    chosen = give_strategy(monkeypatch, "TPUStrategy", replicas)
    assert get_strategy() is chosen
    assert asked == ["local"]
    plural = "s" if replicas > 1 else ""
    assert lines(capsys) == [
        f"TPUStrategy, {replicas} replica{plural}: TPU_NAME is set."
    ]


def test_a_tpu_that_tensorflow_cannot_use_gives_one_line():
    """As on this machine, whose TensorFlow is built without TPUs.

    In a process of its own: TensorFlow's attempt drops what this one has
    computed with, tokenizers' vocabularies among it.
    """
    bare = {
        n: v for n, v in os.environ.items() if n not in module._TPU_VARIABLES
    }
    process = subprocess.run(
        [sys.executable, "-c", _BROKEN_TPU],
        env=bare | {"TPU_ACCELERATOR_TYPE": "v5litepod-1"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    warned, said = process.stdout.splitlines()
    assert "TPU_ACCELERATOR_TYPE is set" in warned
    assert "takes `tensorflow-tpu` 2." in warned
    assert said == "No distribution: no TPU and no GPU on this machine."


_BROKEN_TPU = """
import logging, sys
import tensorflow as tf
from keras_prompt.training.strategy import get_strategy
logging.getLogger("keras_prompt").addHandler(logging.StreamHandler(sys.stdout))
assert get_strategy() is tf.distribute.get_strategy()
"""
