"""The Task: where the rows come from, their text form, and how to score it."""

import collections
import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import tensorflow as tf

Example: TypeAlias = dict[str, Any]
Preprocessor: TypeAlias = "Callable[[tf.data.Dataset], tf.data.Dataset]"
Metric: TypeAlias = Callable[[list[Any], list[Any]], Mapping[str, float]]

SENTINEL = "<extra_id_0>"
SENTINEL_SUFFIX = "+sentinel"
UNLABELLED = "<unk>"  # what t5's preprocessors write where a label is -1
_ROWS_AT_A_TIME = 1024


class Source(Protocol):
    """Gives the raw rows of each split."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits there are."""

    def dataset(self, split: str) -> "tf.data.Dataset":
        """One dict of tensors per row, always in the same order.

        Raises:
            ValueError: there is no such split.
        """


class Postprocessor(Protocol):
    """Turns text into what the metrics compare, as t5's do."""

    def __call__(self, text: str, *, example: Example, is_target: bool) -> Any:
        """What `metrics` get for an output or, if `is_target`, a target."""


@dataclasses.dataclass(frozen=True)
class Task:
    """A text-to-text task in SeqIO's sense.

    Attributes:
        name: unique, e.g. "super_glue/boolq".
        source: the raw rows.
        preprocessors: functions from `tf.data.Dataset` to `tf.data.Dataset`,
            applied in order; the last one's rows have "inputs" and "targets".
        labels: words that initialise a prompt (Lester et al. 2021, section
            3.2) and, when `closed`, the only legal targets and outputs.
        postprocessor: turns outputs and targets into what `metrics` compare;
            None compares the text itself.
        metrics: functions `(targets, predictions) -> {name: 0..100}`. None
            is t5's accuracy.
        closed: whether every target is one of `labels`.
        train_preprocessors: applied to the split "train" alone, before
            `preprocessors`.
        has_sentinel: whether a model writes `<extra_id_0>` before a target,
            as a T5 does that knows only span corruption (Lester et al. 2021,
            section 3.4, "span corruption + sentinel"). Labels, examples and
            metrics are without it.

    Raises:
        ValueError: the name is empty, a label is no text or given twice, or
            a closed task has no labels.
    """

    name: str
    source: Source
    preprocessors: Sequence[Preprocessor] = ()
    labels: Sequence[str] = ()
    postprocessor: Postprocessor | None = None
    metrics: Sequence[Metric] | None = None
    closed: bool = True
    train_preprocessors: Sequence[Preprocessor] = ()
    has_sentinel: bool = False

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("`name` must not be empty. Received: name=''")
        labels = self.labels
        if isinstance(labels, str) or not all(
            isinstance(label, str) and label for label in labels
        ):
            raise ValueError(
                "`labels` must be a sequence of words. "
                f"Received: labels={labels!r}"
            )
        if len(set(labels)) < len(labels):
            raise ValueError(
                f"`labels` must differ from each other. Received: {labels!r}"
            )
        if self.closed and not labels:
            raise ValueError(
                f"Task '{self.name}' is closed, so `labels` must name every "
                "legal target. For free text pass closed=False."
            )
        metrics = self.metrics
        if metrics is None:
            from keras_prompt.tasks.metrics import accuracy

            metrics = (accuracy,)
        if not metrics:
            raise ValueError("`metrics` must hold at least one function.")
        object.__setattr__(self, "metrics", tuple(metrics))
        for field in ("preprocessors", "labels", "train_preprocessors"):
            object.__setattr__(self, field, tuple(getattr(self, field)))

    def in_data_dir(self, data_dir: str | Path) -> "Task":
        """The same task, its source read from another folder.

        Raises:
            ValueError: the source has no such folder.
        """
        if not hasattr(self.source, "data_dir"):
            raise ValueError(
                f"Task '{self.name}' does not read TensorFlow Datasets, so it "
                f"takes no `data_dir`. Received: data_dir={str(data_dir)!r}"
            )
        source = dataclasses.replace(
            self.source,  # type: ignore[type-var]
            data_dir=str(data_dir),
        )
        return dataclasses.replace(self, source=source)

    def with_sentinel(self) -> "Task":
        """The same task for a T5 that was never LM-adapted."""
        name = self.name + SENTINEL_SUFFIX
        return dataclasses.replace(self, name=name, has_sentinel=True)

    @property
    def label_words(self) -> tuple[str, ...]:
        """What a model has to write for each label; none for free text."""
        return tuple(map(self.to_write, self.labels)) if self.closed else ()

    def to_write(self, target: str) -> str:
        """What a model has to write for a target or label.

        Before: "positive"
        After:  "<extra_id_0> positive", if `has_sentinel`
        """
        return f"{SENTINEL} {target}" if self.has_sentinel else target

    def read(self, written: str) -> str:
        """The target or label in what a model wrote: `to_write` undone."""
        if not self.has_sentinel:
            return written
        return written.removeprefix(SENTINEL).lstrip()

    def examples(self, split: str) -> list[Example]:
        """Text-to-text rows of a split, in the source's order.

        Returns:
            Dicts with "inputs" and "targets" (str) and what else the
            postprocessor reads. A row without a label has the targets
            "<unk>" or the label -1, as t5 and tfds write it.

        Raises:
            ValueError: no such split, no rows, no such columns, a column
                that holds others, or a damaged data set.
        """
        dataset = self.source.dataset(split)
        first = self.train_preprocessors if is_train(split) else ()
        for preprocess in (*first, *self.preprocessors):
            dataset = preprocess(dataset)
        self._check_columns(dataset.element_spec)
        examples: list[Example] = []
        # A source that can be damaged on its disk says so.
        with getattr(self.source, "reading", contextlib.nullcontext)():
            for batch in dataset.ragged_batch(_ROWS_AT_A_TIME):
                columns = {key: _to_python(batch[key]) for key in batch}
                examples += [
                    dict(zip(columns, row, strict=True))
                    for row in zip(*columns.values(), strict=True)
                ]
        if not examples:
            raise ValueError(
                f"Split '{split}' of task '{self.name}' has no rows."
            )
        return examples

    def _check_columns(self, columns: Any) -> None:
        import tensorflow as tf

        found = sorted(columns) if isinstance(columns, Mapping) else []
        missing = {"inputs", "targets"} - set(found)
        if missing:
            raise ValueError(
                f"The rows of task '{self.name}' must have the columns inputs "
                f"and targets after preprocessing. Missing: "
                f"{', '.join(sorted(missing))}. Found: "
                f"{', '.join(found) or 'none'}."
            )
        for column, spec in columns.items():
            if not isinstance(spec, tf.TensorSpec | tf.RaggedTensorSpec):
                raise ValueError(
                    f"The column '{column}' of task '{self.name}' must be "
                    "text, numbers or lists of these after preprocessing. "
                    f"Received: {_described(spec)}. Leave it out, or make its "
                    "parts columns of their own."
                )
        for column in ("inputs", "targets"):
            if columns[column].dtype.name != "string":
                raise ValueError(
                    f"The column '{column}' of task '{self.name}' must be "
                    f"text. Received: {columns[column].dtype.name}."
                )

    def evaluate(
        self, outputs: Sequence[str], examples: Sequence[Example]
    ) -> dict[str, float]:
        """Every metric of a model's outputs, most from 0 to 100.

        Args:
            outputs: the model's text for each example.
            examples: what `examples` gave, in the same order.

        Raises:
            ValueError: not one output per example, no examples, or examples
                without labels.
        """
        if len(outputs) != len(examples) or not examples:
            raise ValueError(
                "`outputs` must hold one text per example, and at least one. "
                f"Received {len(outputs)} outputs and {len(examples)} examples."
            )
        if not is_labelled(examples):
            raise ValueError(
                f"These examples of task '{self.name}' have no labels to "
                "compare with; evaluate on another split."
            )
        targets, predictions = [], []
        for output, example in zip(outputs, examples, strict=True):
            targets.append(self._compared(example["targets"], example, True))
            predictions.append(self._compared(output, example, False))
        result: dict[str, float] = {}
        with warnings.catch_warnings():
            # A class that neither side ever names has an F1 of 0.
            warnings.filterwarnings("ignore", ".*is ill-defined")
            for metric in self.metrics or ():
                values = metric(targets, predictions)
                result |= {key: float(values[key]) for key in values}
        return result

    def _compared(self, text: str, example: Example, is_target: bool) -> Any:
        if self.postprocessor is None:
            return text
        # t5's postprocessors find the text of a target under this name.
        example = example | {"targets_pretokenized": example["targets"]}
        return self.postprocessor(text, example=example, is_target=is_target)

    def score(self, metrics: Mapping[str, float]) -> float:
        """One figure to select checkpoints by: the mean of the metrics.

        Lester et al. 2021, section 3: "the dataset's default metric", or
        their mean where there are several.
        """
        if not metrics:
            raise ValueError("`metrics` must hold at least one figure.")
        return sum(metrics.values()) / len(metrics)

    def majority(self, examples: Sequence[Example]) -> dict[str, float] | None:
        """The metrics of always answering the most frequent target.

        Returns:
            None for a task that is not closed.
        """
        if not self.closed:
            return None
        counts = collections.Counter(row["targets"] for row in examples)
        most = max(self.labels, key=lambda label: counts[label])
        return self.evaluate([most] * len(examples), examples)


def is_train(split: str) -> bool:
    """Whether a split is "train", or tfds' slice of it: "train[:100]"."""
    return split.split("[")[0] == "train"


def is_labelled(examples: Sequence[Example]) -> bool:
    """Whether every row has a label: t5 writes "<unk>", tfds -1, for none."""
    return not any(
        row["targets"] == UNLABELLED
        or (isinstance(row.get("label"), int) and row["label"] == -1)
        for row in examples
    )


def _described(spec: Any) -> str:
    """What a column that is no single tensor consists of."""
    if isinstance(spec, Mapping):
        return f"a column with the columns {', '.join(sorted(spec))}"
    return type(spec).__name__


def _to_python(column: Any) -> list[Any]:
    """The rows of a batched column; bytes become str."""
    rows = column.to_list() if hasattr(column, "to_list") else column.numpy()
    return [
        _decoded(row)
        for row in (rows if isinstance(rows, list) else rows.tolist())
    ]


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return value
