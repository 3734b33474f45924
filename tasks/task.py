"""The Task: where the rows come from, their text form, and how to score it."""

import collections
import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from keras_prompt.registry import lookup
from keras_prompt.tasks.examples import check_columns, python_rows

if TYPE_CHECKING:
    import tensorflow as tf

Example: TypeAlias = dict[str, Any]
Preprocessor: TypeAlias = "Callable[[tf.data.Dataset], tf.data.Dataset]"
Metric: TypeAlias = Callable[[list[Any], list[Any]], Mapping[str, float]]

SENTINEL = "<extra_id_0>"
SENTINEL_SUFFIX = "+sentinel"
# What an evaluation adds to the metrics, by name.
SUMMARIES = ("score", "majority", "illegal_share")
_UNLABELLED = "<unk>"  # what t5's preprocessors write where a label is -1


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
        metrics: functions `(targets, predictions) -> {name: 0..100}`, no
            name twice and none of `SUMMARIES`. None is t5's accuracy.
        closed: whether every target is one of `labels`.
        train_preprocessors: applied before `preprocessors` to rows that are
            trained on; not to those of an evaluation, whatever their split.
        has_sentinel: whether a model writes `<extra_id_0>` before a target,
            as a T5 does that knows only span corruption (Lester et al. 2021,
            section 3.4, "span corruption + sentinel"). Labels, examples and
            metrics are without it.
        score_by: the metric to choose checkpoints by; None takes the mean of
            all.

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
    score_by: str | None = None

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
        return without_sentinel(written) if self.has_sentinel else written

    def examples(self, split: str, *, to_train: bool = False) -> list[Example]:
        """Text-to-text rows of a split, in the source's order.

        Args:
            split: e.g. "validation", or tfds' slice "train[:100]".
            to_train: whether to apply `train_preprocessors`.

        Returns:
            Dicts with "inputs" and "targets" (str) and what else the
            postprocessor reads. A row without a label has the targets
            "<unk>" or the label -1, as t5 and tfds write it.

        Raises:
            ValueError: no such split, no rows, no such columns, a column
                that holds others, or a damaged data set.
            FileNotFoundError: the data are not there and cannot be
                downloaded.
        """
        dataset = self.source.dataset(split)
        first = self.train_preprocessors if to_train else ()
        for preprocess in (*first, *self.preprocessors):
            dataset = preprocess(dataset)
        check_columns(dataset.element_spec, self.name)
        # A source that can be damaged on its disk says so.
        with getattr(self.source, "reading", contextlib.nullcontext)():
            examples = python_rows(dataset)
        if not examples:
            raise ValueError(
                f"Split '{split}' of task '{self.name}' has no rows."
            )
        return examples

    def evaluate(
        self, outputs: Sequence[str], examples: Sequence[Example]
    ) -> dict[str, float]:
        """Every metric of a model's outputs, most from 0 to 100.

        Args:
            outputs: the model's text for each example.
            examples: what `examples` gave, in the same order.

        Raises:
            ValueError: not one output per example, no examples, examples
                without labels or with others than the task's, or two metrics
                of one name or of one in `SUMMARIES`.
        """
        if len(outputs) != len(examples) or not examples:
            raise ValueError(
                "`outputs` must hold one text per example, and at least one. "
                f"Received {len(outputs)} outputs and {len(examples)} examples."
            )
        self.check_targets(examples)
        targets, predictions = [], []
        for output, example in zip(outputs, examples, strict=True):
            targets.append(self.compared(example["targets"], example, True))
            predictions.append(self.compared(output, example, False))
        found: list[tuple[str, float]] = []
        with warnings.catch_warnings():
            # A class that neither side ever names has an F1 of 0, and one
            # class alone a Matthews' correlation of 0.
            warnings.filterwarnings("ignore", ".*is ill-defined")
            warnings.filterwarnings("ignore", "A single label was found")
            for metric in self.metrics or ():
                found += metric(targets, predictions).items()
        names = [name for name, _ in found]
        for name in names:
            if name in SUMMARIES or names.count(name) > 1:
                raise ValueError(
                    f"The metrics of task '{self.name}' must have names of "
                    f"their own, none of {', '.join(SUMMARIES)}. Received: "
                    f"{', '.join(names)}. Rename '{name}'."
                )
        return {name: float(value) for name, value in found}

    def check_targets(
        self, examples: Sequence[Example], place: str = "the examples"
    ) -> None:
        """Refuses rows that nothing can be learnt from or compared with.

        Args:
            examples: what `examples` gave.
            place: of the rows, for the error: "split 'train'".

        Raises:
            ValueError: a row has no label or, in a closed task, another
                target than one of `labels`.
        """
        labels = dict.fromkeys(self.labels)
        for number, row in enumerate(examples):
            where = f"Row {number} of {place} of task '{self.name}'"
            if self._is_unlabelled(row):
                raise ValueError(
                    f"{where} has no label to learn or to compare with. Take "
                    "another split; model.generate answers rows without "
                    "labels."
                )
            if self.closed:
                try:
                    lookup("label", row["targets"], labels)
                except ValueError as error:
                    raise ValueError(f"{where}: {error}") from None

    def _is_unlabelled(self, row: Example) -> bool:
        if row["targets"] == _UNLABELLED:
            return True
        # A closed task's target says it; a column "label" may be anything.
        label = row.get("label")
        return not self.closed and isinstance(label, int) and label == -1

    def compared(self, text: str, example: Example, is_target: bool) -> Any:
        """What the metrics get for a text.

        Args:
            text: an output, or the example's target.
            example: a row of `examples`.
            is_target: which of the two it is.
        """
        if self.postprocessor is None:
            return text
        # t5's postprocessors find the text of a target under this name.
        example = example | {"targets_pretokenized": example["targets"]}
        return self.postprocessor(text, example=example, is_target=is_target)

    def score(self, metrics: Mapping[str, float]) -> float:
        """One figure to select checkpoints by: `score_by`, or the mean.

        Lester et al. 2021, section 3: "the dataset's default metric", or
        their mean where there are several.

        Raises:
            ValueError: there are no metrics, or none of that name.
        """
        if not metrics:
            raise ValueError("`metrics` must hold at least one figure.")
        if self.score_by is not None:
            return lookup("metric", self.score_by, metrics)
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


def without_sentinel(written: str) -> str:
    """What a model wrote, less the `<extra_id_0>` before it."""
    return written.removeprefix(SENTINEL).lstrip()
