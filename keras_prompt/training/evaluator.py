"""Scores a model on its tasks while it trains, and keeps what was best."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import keras

from keras_prompt.arguments import check_integers
from keras_prompt.models.prompted_t5 import PromptedT5
from keras_prompt.models.text_t5 import TextT5
from keras_prompt.tasks.task import Task
from keras_prompt.training.evaluation import (
    Evaluation,
    check_evaluation,
    check_sizes,
    evaluate_examples,
)
from keras_prompt.training.every_steps import EverySteps


class Evaluator(EverySteps):
    """Evaluates every so many steps, or after each epoch; subclasses say how.

    A `fit` with another task, other rows or other ways to answer than those
    that the model's best was chosen by begins without a best.

    Args:
        tasks: the tasks.
        split: of every task, "validation" in the paper.
        every_steps: batches between two evaluations, 1,000 in the paper's
            code; none evaluates after each epoch.
        limit: only so many rows of each task, from the front.
        answer_by: "generate" or "rank"; see `evaluate_examples`.
        batch_size: rows at a time.
        input_length: longer inputs are cut.
        target_length: the most tokens to write.
        verbose: whether to print a line for each task each time.

    Attributes:
        examples: the rows, by task.
        evaluations: by task, 16 digits that differ where scores do not
            compare: other rows, labels, ways to answer, or metrics.
        last: what the last evaluation found in this `fit`, by task.

    Raises:
        ValueError: as `task.examples` and `evaluate_examples`; or, in `fit`,
            the model is of another kind or lacks a task's prompt, or two
            evaluators would choose the best of the same prompt.
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
        super().__init__(every_steps)
        if limit is not None:
            check_integers(limit=(limit, 1))
        check_sizes(batch_size, input_length, target_length)
        self.tasks = list(tasks)
        self.split = split
        self.verbose = verbose
        self.examples = {
            task.name: task.examples(split)[:limit] for task in self.tasks
        }
        self.evaluations: dict[str, str] = {}
        how = [answer_by, input_length, target_length]
        for task in self.tasks:
            rows = self.examples[task.name]
            check_evaluation(answer_by, task, rows, f"split '{split}'")
            # Metrics that fail do so now, not after a thousand steps.
            metrics = task.evaluate([row["targets"] for row in rows], rows)
            task.score(metrics)
            self.evaluations[task.name] = _digits(
                task.name,
                rows,
                how,
                task.label_words,
                list(metrics),
                task.score_by,
                [task.compared(row["targets"], row, True) for row in rows],
                [task.compared(row["targets"], row, False) for row in rows],
            )
        self.last: dict[str, Evaluation] = {}
        self._options: dict[str, Any] = {
            "answer_by": answer_by,
            "batch_size": batch_size,
            "input_length": input_length,
            "target_length": target_length,
        }

    def answer(self, **options: Any) -> dict[str, Evaluation]:
        """Runs the model over `examples`; what was found, by task.

        Args:
            options: of `evaluate_examples`.
        """
        raise NotImplementedError

    def logs(self) -> dict[str, float]:
        """What Keras' logs get of `last`."""
        raise NotImplementedError

    def check_model(self, model: PromptedT5) -> None:
        """Refuses a model that this cannot evaluate.

        Raises:
            ValueError: it is of another kind, or lacks a task's prompt.
        """
        raise NotImplementedError

    def before_fit(
        self,
        model: PromptedT5,
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> None:
        """Refuses what would be found out after an epoch, or never.

        Nothing of the model changes yet: another callback may refuse as well.

        Args:
            model: that `fit` is to train.
            callbacks: all of `fit`.
        """
        self.check_model(model)
        for other in callbacks[: callbacks.index(self)]:
            if isinstance(other, Evaluator) and (
                self._chosen(model).keys() & other._chosen(model).keys()
            ):
                raise ValueError(
                    "Two evaluators would choose one best prompt by scores "
                    "that do not compare, on "
                    f"{other._what()} and {self._what()}. Give `fit` the one "
                    "that is to choose; the other's scores come from "
                    "`evaluate_examples` after it, and a loss on other data "
                    "from `validation_data` or `model.evaluate`."
                )
        self.last = {}

    def _chosen(self, model: PromptedT5) -> dict[str, str]:
        """Of `tuned_weights`, those this keeps the best of, and what by."""
        return {
            weight: evaluation
            for task, evaluation in self.evaluations.items()
            for weight in model.weights_of(task)
        }

    def _what(self) -> str:
        names = ", ".join(task.name for task in self.tasks)
        return f"split '{self.split}' of {names}"

    def evaluate(self) -> dict[str, Evaluation]:
        """Evaluates now, and keeps what learns where it is the best so far."""
        self.last = self.answer(**self._options)
        step = int(self.model.optimizer.iterations.numpy())
        for name, found in self.last.items():
            evaluation = self.evaluations[name]
            self.model.keep_best(name, found.score, step, evaluation)
            if self.verbose:
                print(f"step {step:,} · {name} · {found.line()}")
        return self.last

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        model = self.model
        model.backbone.check_answers()
        best = model.best_prompts
        for name, evaluation in self._chosen(model).items():
            if name in best and best[name].evaluation != evaluation:
                del best[name]

    def on_steps(self) -> None:
        self.evaluate()

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self.every_steps is None:
            self.evaluate()
        if logs is not None and self.last:
            logs |= self.logs()


def _digits(*compared: Any) -> str:
    text = json.dumps(compared, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class TaskEvaluator(Evaluator):
    """Evaluates as the paper does and leaves the best in `model.best`.

    The score that chooses the prompt is the one that is reported, as in the
    paper; on a small split that flatters it. Keras' logs get each metric as
    `val_<metric>`, the score that chooses (`Task.score`) as `val_score`, that
    of the majority class as `val_majority`, `val_illegal_share` and
    `prompt_rms`.

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

    def check_model(self, model: PromptedT5) -> None:
        if not isinstance(model, TextT5):
            raise ValueError(
                "A TaskEvaluator is for a model of one prompt, or none; that "
                f"of a {type(model).__name__} is BankEvaluator([task, …])."
            )

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
