"""Scores a model on its tasks while it trains, and keeps what was best."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import keras

from keras_prompt.tasks.task import Task
from keras_prompt.training.evaluation import (
    Evaluation,
    check_evaluation,
    evaluate_examples,
)


class Evaluator(keras.callbacks.Callback):
    """Evaluates every so many steps, or after each epoch; subclasses say how.

    Args:
        tasks: the tasks.
        split: of every task, "validation" in the paper.
        every_steps: steps between two evaluations, 1,000 in the paper's code;
            none evaluates after each epoch.
        limit: only so many rows of each task, from the front.
        answer_by: "generate" or "rank"; see `evaluate_examples`.
        batch_size: rows at a time.
        input_length: longer inputs are cut.
        target_length: the most tokens to write.
        verbose: whether to print a line for each task each time.

    Attributes:
        examples: the rows, by task.
        last: what the last evaluation found, by task.

    Raises:
        ValueError: as `task.examples` and `evaluate_examples`.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        split: str = "validation",
        *,
        every_steps: int | None = None,
        limit: int | None = None,
        answer_by: str = "generate",
        batch_size: int = 32,
        input_length: int = 512,
        target_length: int = 32,
        verbose: bool = True,
    ) -> None:
        super().__init__()
        _check_counts(limit=limit, every_steps=every_steps)
        self.tasks = list(tasks)
        self.every_steps = every_steps
        self.verbose = verbose
        self.examples = {
            task.name: task.examples(split)[:limit] for task in self.tasks
        }
        for task in self.tasks:
            rows = self.examples[task.name]
            task.check_targets(rows, f"split '{split}'")
            check_evaluation(answer_by, task, rows)
            # Metrics that fail do so now, not after a thousand steps.
            task.evaluate([row["targets"] for row in rows], rows)
        self.last: dict[str, Evaluation] = {}
        self._options: dict[str, Any] = {
            "answer_by": answer_by,
            "batch_size": batch_size,
            "input_length": input_length,
            "target_length": target_length,
        }

    def fingerprint(self) -> str:
        """16 digits that differ where scores cannot be compared."""
        options = {k: v for k, v in self._options.items() if k != "batch_size"}
        compared = json.dumps([self.examples, options], default=str)
        return hashlib.sha256(compared.encode()).hexdigest()[:16]

    def answer(self, **options: Any) -> dict[str, Evaluation]:
        """Runs the model over `examples`; what was found, by task.

        Args:
            options: of `evaluate_examples`.
        """
        raise NotImplementedError

    def logs(self) -> dict[str, float]:
        """What Keras' logs get of `last`."""
        raise NotImplementedError

    def evaluate(self) -> dict[str, Evaluation]:
        """Evaluates now, and keeps what learns where it is the best so far."""
        self.last = self.answer(**self._options)
        step = int(self.model.optimizer.iterations.numpy())
        for name, found in self.last.items():
            self.model.keep_best(name, found.score, step)
            if self.verbose:
                print(f"step {step:,} · {name} · {found.line()}")
        return self.last

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.model.backbone.check_answers()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        step = int(self.model.optimizer.iterations.numpy())
        if self.every_steps is not None and step % self.every_steps == 0:
            self.evaluate()

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self.every_steps is None:
            self.evaluate()
        if logs is not None and self.last:
            logs |= self.logs()


class TaskEvaluator(Evaluator):
    """Evaluates as the paper does and leaves the best in `model.best`.

    The score that chooses the prompt is the one that is reported, as in the
    paper; on a small split that flatters it. Keras' logs get each metric as
    `val_<metric>`, their mean as `val_score`, that of the majority class as
    `val_majority`, `val_illegal_share` and `prompt_rms`.

    Args:
        task: the task.
        split: of the task, "validation" in the paper.
        options: as `Evaluator`: every_steps, limit, answer_by, batch_size,
            input_length, target_length, verbose.

    Raises:
        ValueError: as `Evaluator`.
    """

    def __init__(
        self, task: Task, split: str = "validation", **options: Any
    ) -> None:
        super().__init__([task], split, **options)
        self.task = task

    def answer(self, **options: Any) -> dict[str, Evaluation]:
        task = self.task
        rows = self.examples[task.name]
        found = evaluate_examples(self.model, task, rows, **options)
        return {task.name: found}

    def logs(self) -> dict[str, float]:
        found = self.last[self.task.name]
        logs = {f"val_{n}": v for n, v in found.facts(self.task).items()}
        if found.prompt_rms is not None:
            logs["prompt_rms"] = found.prompt_rms
        return logs


def _check_counts(**values: int | None) -> None:
    """Refuses what is neither a positive integer nor none."""
    for argument, value in values.items():
        if value is not None and value < 1:
            raise ValueError(
                f"`{argument}` must be a positive integer or none. "
                f"Received: {argument}={value!r}"
            )
