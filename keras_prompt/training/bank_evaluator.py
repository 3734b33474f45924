"""Scores a bank's model on all its tasks, and keeps each one's best prompt."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_prompt.models.prompt_bank_t5 import PromptBankT5
from keras_prompt.tasks.task import Example, Task
from keras_prompt.training.evaluator import (
    Evaluation,
    check_counts,
    check_evaluation,
    judge,
)


def evaluate_tasks(
    model: PromptBankT5,
    tasks: Sequence[Task],
    examples: Mapping[str, list[Example]],
    *,
    answer_by: str = "generate",
    batch_size: int = 32,
    input_length: int = 512,
    target_length: int = 32,
) -> dict[str, Evaluation]:
    """Runs the rows of several tasks through one model, in mixed batches.

    Args:
        model: its bank has a prompt of each task's name.
        tasks: give metrics and legal outputs.
        examples: rows of `task.examples`, by task.
        answer_by: as `evaluate_examples`, like all that follow.
        batch_size: rows at a time, whatever their tasks.
        input_length: longer inputs are cut, EOS kept.
        target_length: the most tokens to write.

    Returns:
        What was found, by task.

    Raises:
        ValueError: as `evaluate_examples`, or a task has no prompt.
    """
    for task in tasks:
        check_evaluation(answer_by, task, examples[task.name])
    texts = [row["inputs"] for task in tasks for row in examples[task.name]]
    names = [task.name for task in tasks for _ in examples[task.name]]
    if answer_by == "generate":
        outputs = model.generate(
            texts, names, target_length, batch_size, input_length=input_length
        )
    else:
        words = {task.name: task.label_words for task in tasks}
        best = model.rank(texts, names, words, batch_size, input_length)
        outputs = [
            words[name][choice]
            for name, choice in zip(names, best.argmax(axis=1), strict=True)
        ]
    found = {}
    for task in tasks:
        count = len(examples[task.name])
        mine, outputs = outputs[:count], outputs[count:]
        mine = [task.read(output) for output in mine]
        prompt = model.bank.prompts[task.name].numpy()
        found[task.name] = judge(task, examples[task.name], mine, prompt)
    return found


class BankEvaluator(keras.callbacks.Callback):
    """Evaluates every task and leaves their best prompts in `model.best`.

    What `TaskEvaluator` does for one prompt. Keras' logs get each task's
    score as `val_<task>`, and their mean as `val_score`.

    Args:
        tasks: of which the model's bank has prompts.
        split: of every task.
        every_steps: steps between two evaluations; none evaluates after each
            epoch.
        limit: only so many rows of each task, from the front.
        answer_by: "generate" or "rank".
        batch_size: rows at a time.
        input_length: longer inputs are cut.
        target_length: the most tokens to write.
        verbose: whether to print a line for each task each time.

    Raises:
        ValueError: as `TaskEvaluator`.
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
        check_counts(limit=limit, every_steps=every_steps)
        self.tasks = list(tasks)
        self.every_steps = every_steps
        self.verbose = verbose
        self.examples = {
            task.name: task.examples(split)[:limit] for task in self.tasks
        }
        for task in self.tasks:
            check_evaluation(answer_by, task, self.examples[task.name])
        self.last: dict[str, Evaluation] = {}
        self._options: dict[str, Any] = {
            "answer_by": answer_by,
            "batch_size": batch_size,
            "input_length": input_length,
            "target_length": target_length,
        }

    def evaluate(self) -> dict[str, Evaluation]:
        """Evaluates now, and keeps each prompt that is the best so far."""
        model = self.model
        self.last = evaluate_tasks(
            model, self.tasks, self.examples, **self._options
        )
        step = int(model.optimizer.iterations.numpy())
        for name, found in self.last.items():
            model.keep_best(name, found.score, step)
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
            scores = {n: found.score for n, found in self.last.items()}
            logs |= {f"val_{name}": score for name, score in scores.items()}
            logs["val_score"] = float(np.mean(list(scores.values())))
