"""A T5 that answers texts of one task: it writes, scores and ranks.

Letters: B batch, L labels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_prompt.models.prompted_t5 import BestPrompt, PromptedT5
from keras_prompt.models.text_batches import (
    check_labels,
    check_targets,
    pad_rows,
    text_batches,
)
from keras_prompt.types import FloatArray


class TextT5(PromptedT5):
    """What `PromptTunedT5` and `PlainT5` share: texts in, answers out."""

    @property
    def best(self) -> BestPrompt | None:
        """What `TaskEvaluator` found best so far, or none."""
        raise NotImplementedError

    def generate(
        self,
        texts: Sequence[str],
        max_length: int = 32,
        batch_size: int = 32,
        sampler: Any = "greedy",
        input_length: int = 512,
    ) -> list[str]:
        """Writes an output for every text.

        Args:
            texts: the inputs.
            max_length: the most tokens to write, EOS included.
            batch_size: texts decoded together; changes no result, unless the
                sampler draws.
            sampler: "greedy", "beam", "top_k", "top_p", "random", or a
                `keras_hub.samplers.Sampler`. The last three draw, anew in
                each call; after `keras.utils.set_random_seed` the same again.
                A Sampler of your own draws on from its own seed; keep one
                object, as each is traced anew.
            input_length: longer inputs are cut, EOS kept.
        """
        batches = text_batches(texts, self.tokenizer, batch_size, input_length)
        return self.write(batches, sampler, max_length)

    def score(
        self,
        texts: Sequence[str],
        targets: Sequence[str],
        batch_size: int = 32,
        input_length: int = 512,
    ) -> FloatArray:
        """The log-likelihood of a target for every text.

        Returns:
            float32 (B,): log P(target and EOS | prompt, text), summed over
            tokens, natural logarithm.

        Raises:
            ValueError: `texts` or `targets` are no strings, or not equally
                many.
        """
        batches = text_batches(texts, self.tokenizer, batch_size, input_length)
        check_targets(texts, targets)
        rows = pad_rows(self.target_rows(targets))
        return self.log_likelihoods(batches, rows[:, None])[:, 0]

    def rank(
        self,
        texts: Sequence[str],
        labels: Sequence[str],
        batch_size: int = 32,
        input_length: int = 512,
    ) -> FloatArray:
        """The log-likelihood of every label for every text.

        Each text is encoded once for up to 64 labels.

        Returns:
            float32 (B, L), as `score` gives them.

        Raises:
            ValueError: `texts` or `labels` are no strings, or there are no
                labels.
        """
        check_labels(labels)
        batches = text_batches(texts, self.tokenizer, batch_size, input_length)
        ids = pad_rows(self.target_rows(labels))[None]  # (1, L, T)
        return self.log_likelihoods(batches, np.repeat(ids, len(texts), axis=0))
