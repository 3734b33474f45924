"""Documents from any SeqIO task: its text before it becomes token ids."""

import dataclasses
import functools
import importlib
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_prompt.registry import lookup
from keras_prompt.tasks.documents import Document, paragraphs_of

if TYPE_CHECKING:
    import tensorflow as tf

_T5_TASKS = "t5.data.tasks"


@dataclasses.dataclass(frozen=True)
class SeqioDocuments:
    """The texts of a SeqIO task's "train" split.

    The task's own steps before `tokenize` are applied; what follows (its
    vocabulary, its objective) is left to pre-training. A text is the column
    "targets", or "text" where there is none.

    Attributes:
        task: a name in SeqIO's registry.
        module: whose import registers it.
    """

    task: str
    module: str = _T5_TASKS

    @classmethod
    def parse(cls, word: str) -> "SeqioDocuments":
        """Reads "seqio:TASK" or "seqio:MODULE:TASK".

        Raises:
            ValueError: the word has another form.
        """
        parts = word.split(":")[1:]
        if len(parts) not in (1, 2) or not all(parts):
            raise ValueError(
                "A source of SeqIO is written seqio:TASK, or "
                "seqio:MODULE:TASK with the module that registers the task. "
                f"Received: {word}"
            )
        return cls(parts[-1], *parts[:-1])

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task

    def version(self) -> str:
        """Module and name, and how many rows SeqIO knows of.

        Raises:
            FileNotFoundError: its data are not there.
            ValueError: there is no such task, or a mixture of that name.
        """
        task = self._task()
        try:
            rows = task.source.num_input_examples("train")
        except Exception as error:  # of whatever kind the source raises
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise FileNotFoundError(
                f"The data of the SeqIO task '{self.task}' cannot be read "
                f"({reason[:200]})."
            ) from error
        return f"{self.module} {self.task} {rows}"

    def documents(self) -> Iterator[Document]:
        """The paragraphs of each row that has any.

        Raises:
            ValueError: there is no such task, or its rows hold no text
                before they are token ids.
        """
        column, rows = self._texts()
        for row in rows.as_numpy_iterator():
            paragraphs = paragraphs_of(row[column].decode())
            if paragraphs:
                yield paragraphs

    def _texts(self) -> "tuple[str, tf.data.Dataset]":
        """The rows before they are token ids, and which column is text."""
        import seqio
        import tensorflow as tf
        from seqio.preprocessors import tokenize

        task = self._task()
        steps = list(
            itertools.takewhile(
                lambda step: _unwrapped(step) is not tokenize,
                task.preprocessors,
            )
        )
        rows = task.source.get_dataset("train", shuffle=False)
        with seqio.utils.map_seed_manager(initial_seed=0):
            rows = task._preprocess_dataset(rows, steps)
        columns = rows.element_spec
        for column in ("targets", "text"):
            spec = columns.get(column)
            if spec is not None and spec.dtype == tf.string:
                return column, rows
        raise ValueError(
            f"The SeqIO task '{self.task}' has no text to read: before "
            "`seqio.preprocessors.tokenize` its rows must have the text "
            f"column 'targets' or 'text'. Found: {', '.join(sorted(columns))}."
        )

    def _task(self) -> Any:
        import seqio

        try:
            importlib.import_module(self.module)
        except ImportError as error:
            raise ValueError(
                f"The module '{self.module}' of seqio:{self.module}:"
                f"{self.task} cannot be imported ({error}). Is its folder in "
                "PYTHONPATH?"
            ) from error
        if self.task in seqio.MixtureRegistry.names():
            parts = seqio.MixtureRegistry.get(self.task).tasks
            raise ValueError(
                f"'{self.task}' is a SeqIO mixture. Name its tasks, whose "
                "documents then count as they are, without its rates: "
                + " ".join(f"seqio:{self.module}:{part.name}" for part in parts)
            )
        tasks = dict.fromkeys(seqio.TaskRegistry.names())
        lookup("SeqIO task", self.task, tasks)
        return seqio.TaskRegistry.get(self.task)


def _unwrapped(step: Any) -> Any:
    while isinstance(step, functools.partial):
        step = step.func
    return step
