"""Imports Mesh TensorFlow 0.1.21 on a TensorFlow that has no Estimator.

Its `ops.py` takes `estimator` from `tensorflow.compat.v1` for two session
hooks, and `tpu_variables.py` registers a tensor conversion under a name that
TensorFlow 2.16 removed. Both are needed while it is imported and at no other
time, so they are supplied for that moment and then taken away again: a user's
own `hasattr(tf.compat.v1, "estimator")` keeps its answer.
"""

import contextlib
import importlib
import types
import warnings
from collections.abc import Iterator

import tensorflow.compat.v1 as tf1
from tensorflow.python.framework import ops, tensor_conversion_registry

_MISSING = object()


@contextlib.contextmanager
def _supplied(owner: object, name: str, value: object) -> Iterator[None]:
    """Gives `owner` an attribute for as long as the block runs."""
    before = getattr(owner, name, _MISSING)
    if before is not _MISSING:
        yield
        return
    setattr(owner, name, value)
    try:
        yield
    finally:
        delattr(owner, name)


def import_mesh_tensorflow() -> types.ModuleType:
    """The `mesh_tensorflow` module, imported on any TensorFlow 2.16 to 2.21."""
    session_hooks = types.SimpleNamespace(
        SessionRunHook=tf1.train.SessionRunHook,
        CheckpointSaverListener=tf1.train.CheckpointSaverListener,
    )
    register = tensor_conversion_registry.register_tensor_conversion_function
    with (
        _supplied(tf1, "estimator", session_hooks),
        _supplied(ops, "register_tensor_conversion_function", register),
        warnings.catch_warnings(),
    ):
        # Invalid escapes in its docstrings; Python 3.12 reports each.
        warnings.simplefilter("ignore")
        return importlib.import_module("mesh_tensorflow")
