"""Scores a model's outputs on a task, as the paper does."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from keras_prompt.arguments import LONGEST, check_integers
from keras_prompt.models.text_t5 import TextT5
from keras_prompt.tasks.label_words import check_labels, warn_of_unwritable
from keras_prompt.tasks.task import Example, Task
from keras_prompt.tokenizer import Tokenizer
from keras_prompt.types import FloatArray

ANSWERS = ("generate", "rank")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an evaluation found; metrics from 0 to 100.

    Attributes:
        score: of the metrics, by which a prompt is chosen: `Task.score`.
        metrics: by name.
        majority: the same metrics of always giving the most frequent target;
            empty where a task's outputs are free text.
        illegal_share: of outputs that are no label of a closed task, 0 to 1.
        prompt_rms: root mean square of the prompt; none without a prompt.
        outputs: one a row.
    """

    score: float
    metrics: dict[str, float]
    majority: dict[str, float]
    illegal_share: float
    prompt_rms: float | None
    outputs: list[str]

    def line(self) -> str:
        """One line for a person."""
        parts = [f"{name} {value:.1f}" for name, value in self.metrics.items()]
        if self.majority:
            values = self.majority.values()
            parts.append("majority " + "/".join(f"{v:.1f}" for v in values))
            parts.append(f"no label {100 * self.illegal_share:.1f} %")
        if self.prompt_rms is not None:
            parts.append(f"prompt rms {self.prompt_rms:.3g}")
        return " · ".join(parts)

    def facts(self, task: Task) -> dict[str, float]:
        """The metrics, `score`, `majority` if there is one, `illegal_share`.

        Args:
            task: that was evaluated.
        """
        facts = self.metrics | {"score": self.score}
        if self.majority:
            facts["majority"] = float(task.score(self.majority))
        return facts | {"illegal_share": self.illegal_share}


def evaluate_examples(
    model: TextT5,
    task: Task,
    examples: list[Example],
    *,
    answer_by: str = "generate",
    batch_size: int = 32,
    input_length: int = 512,
    target_length: int = 32,
    progress: Callable[[int], None] = lambda rows: None,
) -> Evaluation:
    """Runs a model over text-to-text rows and scores its outputs.

    Args:
        model: with its prompt, or without one.
        task: gives metrics and legal outputs.
        examples: rows of `task.examples`.
        answer_by: "generate" writes greedily and compares text, as the paper
            does; "rank" takes the likeliest label of a closed task.
        batch_size: rows at a time; changes no result.
        input_length: longer inputs are cut, EOS kept.
        target_length: the most tokens to write.
        progress: told the number of rows after every batch.

    Raises:
        ValueError: an unknown `answer_by`, "rank" for a task of free text,
            a size that is no positive integer, an `input_length` of 1, rows
            without labels, or two labels of the same token ids.
    """
    check_sizes(batch_size, input_length, target_length)
    check_evaluation(answer_by, task, examples)
    check_vocabulary(answer_by, task, model.tokenizer)
    outputs = [""] * len(examples)
    for rows, texts in similar_lengths(examples, batch_size):
        if answer_by == "generate":
            written = model.generate(
                texts, target_length, batch_size, input_length=input_length
            )
            found = [task.read(output) for output in written]
        else:
            scores = model.rank(
                texts, task.label_words, batch_size, input_length
            )
            found = likeliest(scores, task.labels)
        for row, output in zip(rows, found, strict=True):
            outputs[row] = output
        progress(len(rows))
    prompts = list(model.prompt_weights.values())
    prompt = prompts[0].numpy() if prompts else None
    return judge(task, examples, outputs, prompt)


def similar_lengths(
    examples: list[Example], batch_size: int
) -> Iterator[tuple[list[int], list[str]]]:
    """Batches of texts of similar length, with the rows that they are.

    A model that had all texts at once would do so itself; it has a batch at a
    time, so that `progress` can be told.

    Args:
        examples: rows of `task.examples`.
        batch_size: rows at a time; the last batch may be smaller.
    """
    by_length = sorted(
        range(len(examples)), key=lambda row: len(examples[row]["inputs"])
    )
    for start in range(0, len(examples), batch_size):
        rows = by_length[start : start + batch_size]
        yield rows, [examples[row]["inputs"] for row in rows]


def likeliest(scores: FloatArray, labels: Sequence[str]) -> list[str]:
    """The label of each row's largest score, which is text like any other.

    Args:
        scores: float32 (B, L), of each label.
        labels: L.

    Returns:
        B texts, "" where a score is not a number: such a model prefers none.
    """
    return [
        "" if np.isnan(row).any() else labels[row.argmax()] for row in scores
    ]


def judge(
    task: Task,
    examples: list[Example],
    outputs: list[str],
    prompt: FloatArray | None,
) -> Evaluation:
    """Scores a model's outputs, one for each row.

    Args:
        task: gives metrics and legal outputs.
        examples: rows of `task.examples`.
        outputs: in the same order.
        prompt: float32 (P, D), behind the outputs, if there is one.
    """
    metrics = task.evaluate(outputs, examples)
    return Evaluation(
        score=float(task.score(metrics)),
        metrics={name: float(value) for name, value in metrics.items()},
        majority=dict(task.majority(examples) or {}),
        illegal_share=float(np.mean([o not in task.labels for o in outputs]))
        if task.closed
        else 0.0,
        prompt_rms=None
        if prompt is None
        else float(np.sqrt(np.mean(np.square(prompt, dtype=np.float64)))),
        outputs=outputs,
    )


def check_sizes(batch_size: int, input_length: int, target_length: int) -> None:
    """Refuses sizes that no text could go through a model with.

    Args:
        batch_size: of `evaluate_examples`, like the next.
        input_length: of which one token is EOS.
        target_length: also where labels are ranked, and nothing is written.

    Raises:
        ValueError: as `evaluate_examples`.
    """
    check_integers(
        batch_size=(batch_size, 1),
        input_length=(input_length, 2),
        target_length=(target_length, 1, LONGEST),
    )


def check_evaluation(
    answer_by: str,
    task: Task,
    examples: list[Example],
    place: str = "the examples",
) -> None:
    """Refuses what cannot be evaluated.

    Args:
        answer_by: of `evaluate_examples`.
        task: whose rows they are.
        examples: rows of `task.examples`.
        place: of the rows, for the error: "split 'validation'".

    Raises:
        ValueError: as `evaluate_examples`.
    """
    if answer_by not in ANSWERS:
        raise ValueError(
            f"`answer_by` must be one of {ANSWERS}. "
            f"Received: answer_by={answer_by!r}"
        )
    if answer_by == "rank" and not task.closed:
        raise ValueError(
            f"Task '{task.name}' has free-text outputs; `answer_by='rank'` "
            "needs a closed list of labels. Use answer_by='generate'."
        )
    task.check_targets(examples, place)


def check_vocabulary(answer_by: str, task: Task, tokenizer: Tokenizer) -> None:
    """Refuses, or warns of, labels that a model cannot answer with.

    Args:
        answer_by: of `evaluate_examples`.
        task: with its labels.
        tokenizer: the model's.

    Raises:
        ValueError: two labels have the same token ids.
    """
    check_labels(task, tokenizer)
    if answer_by == "generate":
        warn_of_unwritable(task, tokenizer)
