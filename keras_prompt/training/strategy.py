"""Chooses where to train: TPU, workers, several GPUs, or what there is."""

import json
import logging
import os
from pathlib import Path

import tensorflow as tf

_LOG = logging.getLogger("keras_prompt")
# What a machine with a TPU says of itself: Cloud, Colab of old, a TPU's VM.
_TPU_VARIABLES = ("TPU_NAME", "COLAB_TPU_ADDR", "TPU_ACCELERATOR_TYPE")
_TPU_DEVICES = ("/dev/accel0", "/dev/vfio/0")


def get_strategy() -> tf.distribute.Strategy:
    """The strategy for this machine; prints which, and why, in one line.

    A TPU comes first, then the workers that `TF_CONFIG` names, then several
    GPUs, then the one device there is. Call it before TensorFlow has computed
    anything, and make and compile the model in its `scope()`.

    Raises:
        ValueError: `TF_CONFIG` is no cluster.
    """
    return _tpu() or _workers() or _this_machine()


def _tpu() -> tf.distribute.Strategy | None:
    reason = _why_a_tpu()
    if reason is None:
        return None
    name = os.environ.get("TPU_NAME") or os.environ.get("COLAB_TPU_ADDR")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            tpu=name or "local"
        )
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        strategy = tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        version = ".".join(tf.__version__.split(".")[:2])
        _LOG.warning(
            "A TPU is here (%s), but this TensorFlow cannot use it (%s): "
            "it takes `tensorflow-tpu` %s with its libtpu, if there is one.",
            reason,
            (str(error).splitlines() or [type(error).__name__])[0],
            version,
        )
        return None
    count = strategy.num_replicas_in_sync
    _say(f"TPUStrategy, {_count(count, 'replica')}: {reason}.")
    return strategy


def _why_a_tpu() -> str | None:
    for variable in _TPU_VARIABLES:
        if os.environ.get(variable):
            return f"{variable} is set"
    # A GPU passed through to a virtual machine has a /dev/vfio as well.
    if not tf.config.list_physical_devices("GPU"):
        for device in _TPU_DEVICES:
            if Path(device).exists():
                return f"{device} is there"
    return None


def _workers() -> tf.distribute.Strategy | None:
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        return None
    try:
        config = json.loads(text)
        workers = config.get("cluster", {}).get("worker", [])
        index = config.get("task", {}).get("index", 0)
    except (ValueError, AttributeError) as error:
        raise ValueError(
            "`TF_CONFIG` must be a JSON object with `cluster` and `task`. "
            f"Received: TF_CONFIG={text!r}"
        ) from error
    if len(workers) < 2:
        return None
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    _say(
        f"MultiWorkerMirroredStrategy, worker {index} of {len(workers)}, "
        f"{_count(strategy.num_replicas_in_sync, 'replica')}: TF_CONFIG names "
        "the workers."
    )
    return strategy


def _this_machine() -> tf.distribute.Strategy:
    gpus = tf.config.list_physical_devices("GPU")
    if len(gpus) > 1:
        strategy = tf.distribute.MirroredStrategy()
        _say(f"MirroredStrategy: {len(gpus)} GPUs on this machine.")
        return strategy
    found = "one GPU and no TPU" if gpus else "no TPU and no GPU"
    _say(f"No distribution: {found} on this machine.")
    return tf.distribute.get_strategy()


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def _say(line: str) -> None:
    # Printed, not logged: a notebook shows no log of this level.
    print(line)
