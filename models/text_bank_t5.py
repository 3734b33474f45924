"""A T5 that answers texts of many tasks: it writes, scores and ranks.

Letters: B batch, L labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_prompt.layers.prompt_bank import PromptBank
from keras_prompt.models.prompted_t5 import PromptedT5
from keras_prompt.models.text_batches import (
    TextBatch,
    check_labels,
    check_targets,
    pad_rows,
    task_names,
    text_batches,
)
from keras_prompt.types import FloatArray

Tasks = str | Sequence[str]


class TextBankT5(PromptedT5):
    """What `PromptBankT5` does with texts, each with its own task's prompt.

    Attributes:
        bank: the prompts.
    """

    bank: PromptBank

    def generate(
        self,
        texts: Sequence[str],
        tasks: Tasks,
        max_length: int = 32,
        batch_size: int = 32,
        sampler: Any = "greedy",
        input_length: int = 512,
    ) -> list[str]:
        """Writes an output for every text, with its task's prompt.

        Args:
            texts: the inputs.
            tasks: a name for each text, or one for all.
            max_length: the most tokens to write, EOS included.
            batch_size: texts decoded together, whatever their tasks; changes
                no result, unless the sampler draws.
            sampler: as in `PromptTunedT5.generate`.
            input_length: longer inputs are cut, EOS kept.

        Raises:
            ValueError: `texts` are no strings, a task is not in the bank, or
                not one for each text.
        """
        batches = self._batches(texts, tasks, batch_size, input_length)
        return self.write(batches, sampler, max_length)

    def score(
        self,
        texts: Sequence[str],
        tasks: Tasks,
        targets: Sequence[str],
        batch_size: int = 32,
        input_length: int = 512,
    ) -> FloatArray:
        """The log-likelihood of a target for every text.

        Returns:
            float32 (B,): log P(target and EOS | the task's prompt, text).

        Raises:
            ValueError: as `generate`; or `targets` are no strings, or not as
                many as texts.
        """
        batches = self._batches(texts, tasks, batch_size, input_length)
        check_targets(texts, targets)
        rows = pad_rows(self.target_rows(targets))
        return self.log_likelihoods(batches, rows[:, None])[:, 0]

    def rank(
        self,
        texts: Sequence[str],
        tasks: Tasks,
        labels: Mapping[str, Sequence[str]] | None = None,
        batch_size: int = 32,
        input_length: int = 512,
    ) -> FloatArray:
        """The log-likelihood of each of its task's labels for every text.

        Each text is encoded once for up to 64 labels.

        Args:
            texts: the inputs.
            tasks: a name for each text, or one for all.
            labels: of each task; defaults to the label words on the prompts'
                cards.
            batch_size: texts at a time; changes no result.
            input_length: longer inputs are cut, EOS kept.

        Returns:
            float32 (B, L), L the most labels a task here has; -inf after the
            last of a task that has fewer.

        Raises:
            ValueError: as `generate`; or a task has no labels, or no strings
                for them.
        """
        names = self._names(texts, tasks)
        by_task = {name: self._labels(name, labels) for name in set(names)}
        count = max(map(len, by_task.values()), default=0)
        words = [word for name in names for word in by_task[name]]
        ids = pad_rows(self.target_rows(words))
        label_count = np.asarray([len(by_task[name]) for name in names])
        is_label = np.arange(count) < label_count[:, None]  # (B, L)
        targets = np.zeros((*is_label.shape, ids.shape[1]), np.int32)
        targets[is_label] = ids
        batches = self._batches(texts, names, batch_size, input_length)
        scores = self.log_likelihoods(batches, targets)
        return np.where(is_label, scores, np.float32(-np.inf))

    def _labels(
        self, task: str, labels: Mapping[str, Sequence[str]] | None
    ) -> Sequence[str]:
        card = self.bank.cards.get(task)
        found: Sequence[str] = card.label_words if card else ()
        if labels is not None:
            if not isinstance(labels, Mapping):
                raise ValueError(
                    "`labels` must give each task's by its name, such as "
                    f"{{{task!r}: [...]}}. Received: labels={labels!r:.60}"
                )
            found = labels.get(task, ())
        if not len(found):
            raise ValueError(
                f"Task '{task}' has no labels to rank; give them in `labels`."
            )
        check_labels(found, f"labels[{task!r}]")
        return found

    def _names(self, texts: Sequence[str], tasks: Tasks) -> list[str]:
        names = task_names(texts, tasks)
        self.bank.index(names)  # refuses a name it does not have
        return names

    def _batches(
        self,
        texts: Sequence[str],
        tasks: Tasks,
        batch_size: int,
        input_length: int,
    ) -> Iterator[TextBatch]:
        index = self.bank.index(self._names(texts, tasks))
        return (
            TextBatch(rows, features | {"task_index": index[rows]})
            for rows, features in text_batches(
                texts, self.tokenizer, batch_size, input_length
            )
        )
