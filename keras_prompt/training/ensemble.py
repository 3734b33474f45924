"""Scores an ensemble of prompts beside its members.

Letters: B texts, K prompts, L labels.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from keras_prompt.models.ensemble import PromptEnsemble, majority
from keras_prompt.tasks.task import Example, Task
from keras_prompt.training.evaluation import (
    Evaluation,
    check_evaluation,
    check_sizes,
    check_vocabulary,
    judge,
    likeliest,
    similar_lengths,
)


@dataclasses.dataclass(frozen=True)
class EnsembleEvaluation:
    """What an evaluation of several prompts found, as the paper's Table 3.

    Attributes:
        prompts: each prompt's own evaluation, by its name.
        vote: of the majority's answers.
        likelihood: of the labels with the largest log-likelihood, summed
            over prompts; none where answers were generated.
    """

    prompts: dict[str, Evaluation]
    vote: Evaluation
    likelihood: Evaluation | None

    @property
    def average(self) -> float:
        """The mean of the prompts' scores."""
        return float(np.mean([one.score for one in self.prompts.values()]))

    @property
    def best(self) -> float:
        """The best prompt's score."""
        return max(one.score for one in self.prompts.values())


def evaluate_ensemble(
    ensemble: PromptEnsemble,
    task: Task,
    examples: list[Example],
    *,
    answer_by: str = "generate",
    batch_size: int = 32,
    input_length: int = 512,
    target_length: int = 32,
    progress: Callable[[int], None] = lambda rows: None,
) -> EnsembleEvaluation:
    """Runs all prompts over a task's rows in one pass and scores them.

    Args:
        ensemble: of prompts of the task.
        task: gives metrics and legal outputs.
        examples: rows of `task.examples`.
        answer_by: as `evaluate_examples`, like all that follow. "rank" also
            gives the summed log-likelihood.
        batch_size: rows at a time, K for each example.
        input_length: longer inputs are cut, EOS kept.
        target_length: the most tokens to write.
        progress: told the number of examples after every batch.

    Raises:
        ValueError: as `evaluate_examples`.
    """
    check_sizes(batch_size, input_length, target_length)
    check_evaluation(answer_by, task, examples)
    check_vocabulary(answer_by, task, ensemble.model.tokenizer)
    bank = ensemble.model.bank
    answers: list[list[str]] = [[]] * len(examples)  # B lists of K
    together = [""] * len(examples)
    size = max(1, batch_size // len(bank.names))
    for rows, texts in similar_lengths(examples, size):
        if answer_by == "generate":
            written = ensemble.generate_each(
                texts, target_length, batch_size, input_length=input_length
            )
            for row, outputs in zip(rows, written, strict=True):
                answers[row] = [task.read(output) for output in outputs]
        else:
            scores = ensemble.rank_each(
                texts, task.label_words, batch_size, input_length
            )
            for row, own in zip(rows, scores, strict=True):  # (K, L)
                answers[row] = likeliest(own, task.labels)
                summed = own.sum(axis=0, keepdims=True)
                together[row] = likeliest(summed, task.labels)[0]
        progress(len(rows))
    prompts = {name: weight.numpy() for name, weight in bank.prompts.items()}
    all_vectors = np.concatenate(list(prompts.values()))
    voted = [majority(row) for row in answers]
    return EnsembleEvaluation(
        prompts={
            name: judge(task, examples, [row[place] for row in answers], prompt)
            for place, (name, prompt) in enumerate(prompts.items())
        },
        vote=judge(task, examples, voted, all_vectors),
        likelihood=judge(task, examples, together, all_vectors)
        if answer_by == "rank"
        else None,
    )
