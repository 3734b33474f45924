"""Several prompts of one task answer together, in one pass.

Letters: B texts, K prompts, L labels.
"""

import collections
from collections.abc import Sequence
from typing import Any

from keras_prompt.models.prompt_bank_t5 import PromptBankT5
from keras_prompt.models.text_batches import check_labels, check_texts
from keras_prompt.types import FloatArray


def majority(answers: Sequence[str]) -> str:
    """The answer that most prompts gave.

    Of answers with equally many votes, the one that the earliest of all
    prompts gave: put the prompt you trust most first.

    >>> majority(["b", "a", "c", "a"]), majority(["b", "a", "a", "b"])
    ('a', 'b')
    """
    # `most_common` keeps the order of first appearance among equals.
    return collections.Counter(answers).most_common(1)[0][0]


class PromptEnsemble:
    """A bank's prompts as one: Lester et al. 2021, section 6.

    A text stands among a batch's rows once for each prompt, so that all prompts
    take one pass and one model in memory.

    Args:
        model: its bank holds K prompts of one task. Their order breaks ties.
    """

    def __init__(self, model: PromptBankT5) -> None:
        self.model = model

    def generate(self, texts: Sequence[str], **options: Any) -> list[str]:
        """The majority's output for every text; see `generate_each`."""
        return [majority(row) for row in self.generate_each(texts, **options)]

    def generate_each(
        self,
        texts: Sequence[str],
        max_length: int = 32,
        batch_size: int = 32,
        sampler: Any = "greedy",
        input_length: int = 512,
    ) -> list[list[str]]:
        """Every prompt's output for every text, B lists of K.

        Args:
            texts: the inputs.
            max_length: the most tokens to write, EOS included.
            batch_size: rows at a time, K for each text; changes no result.
            sampler: as in `PromptTunedT5.generate`.
            input_length: longer inputs are cut, EOS kept.
        """
        rows, prompts = self._rows(texts)
        written = self.model.generate(
            rows, prompts, max_length, batch_size, sampler, input_length
        )
        count = len(self.model.bank.names)
        return [
            written[start : start + count]
            for start in range(0, len(written), count)
        ]

    def rank(
        self, texts: Sequence[str], labels: Sequence[str], **options: Any
    ) -> FloatArray:
        """Each label's log-likelihood, summed over prompts: float32 (B, L)."""
        each = self.rank_each(texts, labels, **options)
        summed: FloatArray = each.sum(axis=1)
        return summed

    def rank_each(
        self,
        texts: Sequence[str],
        labels: Sequence[str],
        batch_size: int = 32,
        input_length: int = 512,
    ) -> FloatArray:
        """Each label's log-likelihood under every prompt.

        Args:
            texts: the inputs.
            labels: L of them.
            batch_size: rows at a time, K for each text; changes no result.
            input_length: longer inputs are cut, EOS kept.

        Returns:
            float32 (B, K, L).

        Raises:
            ValueError: `labels` are one string, or none.
        """
        check_labels(labels)
        names = self.model.bank.names
        rows, prompts = self._rows(texts)
        scores = self.model.rank(
            rows,
            prompts,
            dict.fromkeys(names, labels),
            batch_size,
            input_length,
        )
        return scores.reshape(len(texts), len(names), len(labels))

    def _rows(self, texts: Sequence[str]) -> tuple[list[str], list[str]]:
        """Every text once for each prompt, and the prompts' names."""
        check_texts(texts)
        names = self.model.bank.names
        return [text for text in texts for _ in names], names * len(texts)
