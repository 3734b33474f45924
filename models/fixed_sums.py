"""Keeps TensorFlow from adding the same numbers in a changing order."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

_ARITHMETIC = "arithmetic_optimization"


@contextlib.contextmanager
def fixed_order_of_sums() -> Iterator[None]:
    """Within it, equal inputs give equal bits, on one processor.

    TensorFlow's graph optimizer merges additions into one operation of many
    inputs. That operation begins with whichever input's memory is free by
    then, which depends on the threads; so gradients, which are such sums,
    differ in their last bits from run to run. Functions first run within this
    are not rewritten so. (`enable_op_determinism` does not help.)
    """
    options = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({_ARITHMETIC: False})
    try:
        yield
    finally:
        before = options.get(_ARITHMETIC, True)
        tf.config.optimizer.set_experimental_options({_ARITHMETIC: before})
