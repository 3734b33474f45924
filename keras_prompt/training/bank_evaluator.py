"""Scores a bank's model on all its tasks, and keeps each one's best prompt."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_prompt.models.prompt_bank_t5 import PromptBankT5
from keras_prompt.models.prompted_t5 import PromptedT5
from keras_prompt.tasks.task import Example, Task
from keras_prompt.training.evaluation import (
    Evaluation,
    check_evaluation,
    check_sizes,
    check_vocabulary,
    judge,
    likeliest,
)
from keras_prompt.training.evaluator import Evaluator


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
    check_sizes(batch_size, input_length, target_length)
    for task in tasks:
        check_evaluation(answer_by, task, examples[task.name])
        check_vocabulary(answer_by, task, model.tokenizer)
    texts = [row["inputs"] for task in tasks for row in examples[task.name]]
    names = [task.name for task in tasks for _ in examples[task.name]]
    if answer_by == "generate":
        outputs = model.generate(
            texts, names, target_length, batch_size, input_length=input_length
        )
    else:
        words = {task.name: task.label_words for task in tasks}
        scores = model.rank(texts, names, words, batch_size, input_length)
        outputs = [
            likeliest(row[None], words[name])[0]
            for name, row in zip(names, scores, strict=True)
        ]
    found = {}
    for task in tasks:
        count = len(examples[task.name])
        mine, outputs = outputs[:count], outputs[count:]
        mine = [task.read(output) for output in mine]
        prompt = model.bank.prompts[task.name].numpy()
        found[task.name] = judge(task, examples[task.name], mine, prompt)
    return found


def check_names(names: Sequence[str]) -> None:
    """Refuses names of tasks that Keras' logs could not tell apart.

    Raises:
        ValueError: one is called "score", as what is found of all of them; or
            begins with another and a colon, as what is found of that one.
    """
    for name in names:
        if name == "score" or any(name.startswith(f"{n}:") for n in names):
            raise ValueError(
                "No task's name may be 'score', or another's with ':' and more "
                "behind it, as logs and history.csv call other things so. "
                f"Received: {name!r} among {list(names)}"
            )


class BankEvaluator(Evaluator):
    """Evaluates every task and leaves their best prompts in `model.best`.

    What `TaskEvaluator` does for one prompt, of tasks of whose names the
    model's bank has prompts. Keras' logs get each task's score as
    `val_<task>`, the mean of the scores as `val_score`, and all else that is
    found as `val_<task>:<metric>` and so on.

    Args:
        tasks: the tasks, of the names in the model's bank.
        split: of every task, "validation" in the paper.
        options: as `Evaluator`.

    Raises:
        ValueError: as `Evaluator`, or as `check_names`.
    """

    def __init__(
        self, tasks: Sequence[Task], split: str = "validation", **options: Any
    ) -> None:
        check_names([task.name for task in tasks])
        super().__init__(tasks, split, **options)

    def check_model(self, model: PromptedT5) -> None:
        if not isinstance(model, PromptBankT5):
            raise ValueError(
                "A BankEvaluator is for a PromptBankT5; that of a "
                f"{type(model).__name__} is TaskEvaluator(task)."
            )
        model.bank.index([task.name for task in self.tasks])

    def answer(self, **options: Any) -> dict[str, Evaluation]:
        return evaluate_tasks(self.model, self.tasks, self.examples, **options)

    def logs(self) -> dict[str, float]:
        logs: dict[str, float] = {}
        for task in self.tasks:
            facts = self.last[task.name].facts(task)
            logs[f"val_{task.name}"] = facts.pop("score")
            logs |= {f"val_{task.name}:{n}": v for n, v in facts.items()}
        scores = [found.score for found in self.last.values()]
        return logs | {"val_score": float(np.mean(scores))}
