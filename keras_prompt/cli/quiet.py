"""Imports TensorFlow for a command: silent, and Ctrl-C ends it."""

import contextlib
import gc
import logging
import os
import sys
import warnings
from collections.abc import Iterator


def import_tensorflow() -> None:
    """Imports TensorFlow silently; only this package's warnings show after.

    Its first lines come before any log level is read, so the file descriptor
    itself is turned away for that moment.
    """
    # Both are read during the import; nothing here runs on another backend.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    logging.basicConfig(format="%(message)s", level=logging.ERROR)
    logging.getLogger("keras_prompt").setLevel(logging.INFO)
    warnings.simplefilter("ignore")
    warnings.filterwarnings("default", module="keras_prompt")
    warnings.showwarning = _show_warning
    with _standard_error_closed():
        import tensorflow as tf

        tf.config.list_physical_devices()
    _remove_jaxs_hooks()
    tf.get_logger().setLevel(logging.ERROR)


def _remove_jaxs_hooks() -> None:
    """Takes jax, which computes nothing here, out of garbage collection.

    TensorFlow imports jax where it is installed, and SeqIO installs it. Its
    hook is Python code, so Ctrl-C can arrive within it; Python then only
    writes that it ignored an exception, and goes on.
    """
    gc.callbacks[:] = [
        hook
        for hook in gc.callbacks
        if (getattr(hook, "__module__", None) or "").split(".")[0] != "jax"
    ]


@contextlib.contextmanager
def _standard_error_closed() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _show_warning(
    message: Warning | str, *details: object, **more: object
) -> None:
    print(f"keras-prompt: warning: {message}", file=sys.stderr)
