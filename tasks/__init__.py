"""The data side: tasks and their batches. It knows no model.

A Task is one in SeqIO's sense: a source of rows, the preprocessors that make
text-to-text rows of them, a postprocessor and metrics. (In KerasHub a task is
a model with a head; that is not meant here.)
"""

if __name__ != "keras_prompt.tasks":
    raise ImportError("Import keras_prompt.tasks, not tasks.")

import logging
from pathlib import Path

from keras_prompt.registry import lookup
from keras_prompt.tasks.glue import MRPC, QQP, SST2
from keras_prompt.tasks.postprocessors import LabelIndex
from keras_prompt.tasks.sources import FileSource, RowsSource
from keras_prompt.tasks.squad import SQUAD
from keras_prompt.tasks.super_glue import (
    AXB,
    AXG,
    BOOLQ,
    CB,
    COPA,
    MULTIRC,
    RECORD,
    RTE,
    WIC,
    WSC,
)
from keras_prompt.tasks.task import SENTINEL_SUFFIX, Task
from keras_prompt.tasks.tfds_source import TfdsSource

__all__ = [
    "FileSource",
    "LabelIndex",
    "RowsSource",
    "Task",
    "TfdsSource",
    "get",
    "names",
    "register",
]

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        BOOLQ,
        CB,
        COPA,
        MULTIRC,
        RECORD,
        RTE,
        WIC,
        WSC,
        AXB,
        AXG,
        MRPC,
        QQP,
        SST2,
        SQUAD,
    )
}
_registered: dict[str, Task] = {}


def names() -> list[str]:
    """The names that `get` knows, sorted."""
    return sorted(TASKS | _registered)


def get(name: str, data_dir: str | Path | None = None) -> Task:
    """Returns the task of that name.

    Args:
        name: e.g. "super_glue/boolq", or "super_glue/boolq+sentinel" for
            `Task.with_sentinel`.
        data_dir: the folder of TensorFlow Datasets; None is its own default,
            the environment variable TFDS_DATA_DIR or ~/tensorflow_datasets.

    Raises:
        ValueError: there is no such task, or it needs no `data_dir`.
    """
    plain = name.removesuffix(SENTINEL_SUFFIX)
    task = lookup("task", plain, TASKS | _registered)
    if plain != name:
        task = task.with_sentinel()
    return task if data_dir is None else task.in_data_dir(data_dir)


def register(task: Task) -> Task:
    """Makes a task of your own known to `get` and `names`, in this process.

    `keras-prompt` is another process and does not know it: tune on it from
    Python, with `keras_prompt.training.tune.tune`.

    A task registered before under the same name is replaced, and a warning
    is logged, so that a notebook's cell can run twice.

    Raises:
        ValueError: it is no Task, the name is one of the package's own, or
            one that `get` makes of another.
    """
    if not isinstance(task, Task):
        raise ValueError(f"`task` must be a Task. Received: {task!r}")
    if task.name.endswith(SENTINEL_SUFFIX):
        plain = task.name.removesuffix(SENTINEL_SUFFIX)
        raise ValueError(
            f"A registered task's name must not end in {SENTINEL_SUFFIX}. "
            f"Received: '{task.name}'. Register '{plain}' without it: `get` "
            "then knows both."
        )
    if task.name in TASKS:
        raise ValueError(
            f"'{task.name}' is a task of keras_prompt. Choose another name."
        )
    if task.name in _registered:
        logging.getLogger("keras_prompt").warning(
            "The task '%s' replaces one registered before.", task.name
        )
    _registered[task.name] = task
    return task
