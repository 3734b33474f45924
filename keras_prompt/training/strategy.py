"""Chooses where to train: TPU, several GPUs, or the one device there is."""

import logging

import tensorflow as tf

_LOG = logging.getLogger("keras_prompt")


def get_strategy() -> tf.distribute.Strategy:
    """The strategy for this machine; logs which, and why, in one line."""
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
    except (ValueError, tf.errors.OpError):
        return _without_tpu()
    try:
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        _LOG.warning(
            "A TPU is configured but TensorFlow cannot use it (%s). Install "
            "the `tensorflow-tpu` that matches this TensorFlow and restart.",
            str(error).splitlines()[0],
        )
        return _without_tpu()
    strategy = tf.distribute.TPUStrategy(resolver)
    _LOG.info("TPUStrategy over %d cores.", strategy.num_replicas_in_sync)
    return strategy


def _without_tpu() -> tf.distribute.Strategy:
    gpus = tf.config.list_physical_devices("GPU")
    if len(gpus) > 1:
        _LOG.info("MirroredStrategy over %d GPUs.", len(gpus))
        return tf.distribute.MirroredStrategy()
    _LOG.info("One %s, no distribution.", "GPU" if gpus else "CPU")
    return tf.distribute.get_strategy()
