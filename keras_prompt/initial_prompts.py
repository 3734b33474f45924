"""What a prompt is before training: the initialisations of Lester et al. 2021.

Each function returns a closure `(embedding_table, tokenizer, prompt_length,
rng) -> prompt`; `PromptTunedT5.initialize_prompt` calls it. A function of
yours with the same arguments serves as well.

Letters: P prompt length, D d_model.
"""

import warnings
from collections.abc import Sequence, Set
from pathlib import Path

import numpy as np

from keras_prompt.arguments import check_integers
from keras_prompt.layers.prompt_embedding import InitialPrompt
from keras_prompt.tokenizer import Tokenizer
from keras_prompt.types import FloatArray

# Section 3.2: "the 5,000 most common tokens"; T5's vocabulary is sorted so.
_POPULATION = 5000


def random_uniform(low: float = -0.5, high: float = 0.5) -> InitialPrompt:
    """Independent uniform numbers, [-0.5, 0.5] in the paper.

    The paper's code draws from [0, 0.5) instead; `random_uniform(0, 0.5)`.

    Raises:
        ValueError: `low` is not below `high`.
    """
    if not low < high:
        raise ValueError(
            f"`low` must be below `high`. Received: low={low!r}, high={high!r}"
        )

    def initial_prompt(
        embedding_table: FloatArray,
        tokenizer: Tokenizer,
        prompt_length: int,
        rng: np.random.Generator,
    ) -> FloatArray:
        shape = (prompt_length, embedding_table.shape[1])
        return rng.uniform(low, high, shape).astype(np.float32)

    return initial_prompt


def sampled_vocab(population: int = _POPULATION) -> InitialPrompt:
    """Embeddings of distinct tokens among the most common ones.

    Tokens repeat only when the prompt is longer than the population, which
    warns.

    Args:
        population: how many ids, from 0, are drawn from, as far as the
            vocabulary has so many pieces.

    Raises:
        ValueError: `population` is no positive integer.
    """
    check_integers(population=(population, 1))

    def initial_prompt(
        embedding_table: FloatArray,
        tokenizer: Tokenizer,
        prompt_length: int,
        rng: np.random.Generator,
    ) -> FloatArray:
        # Behind the pieces are sentinels, and rows that no text ever uses.
        size = min(population, tokenizer.piece_count)
        if size < population and population != _POPULATION:
            warnings.warn(
                f"`population` is {population}, but the vocabulary has {size} "
                "pieces; drawing from those.",
                stacklevel=2,
            )
        repeats = prompt_length > size
        if repeats:
            warnings.warn(
                f"A prompt of {prompt_length} vectors is drawn from {size} "
                "tokens; some repeat.",
                stacklevel=2,
            )
        rows = rng.choice(size, prompt_length, replace=repeats)
        return embedding_table[rows].astype(np.float32)

    return initial_prompt


def class_labels(
    labels: Sequence[str], population: int = _POPULATION
) -> InitialPrompt:
    """The output words first, the rest as `sampled_vocab`.

    A label of several tokens gives the mean of their embeddings. Best at
    small sizes in the paper (figure 3b).

    Args:
        labels: in the order of the rows they go to.
        population: of the other rows.

    Raises:
        ValueError: `labels` is empty, holds an empty string, or is one
            string; or, when it is used, a label has no tokens.
    """
    words = _checked_labels(labels)
    fallback = sampled_vocab(population)

    def initial_prompt(
        embedding_table: FloatArray,
        tokenizer: Tokenizer,
        prompt_length: int,
        rng: np.random.Generator,
    ) -> FloatArray:
        prompt = fallback(embedding_table, tokenizer, prompt_length, rng)
        if len(words) > prompt_length:
            warnings.warn(
                f"There are {len(words)} labels for a prompt of "
                f"{prompt_length} vectors; the last ones are left out.",
                stacklevel=2,
            )
        for row, word in enumerate(words[:prompt_length]):
            ids = tokenizer.encode(word)
            if not ids:
                raise ValueError(
                    "`labels` must be words of the vocabulary. "
                    f"Received: {word!r}, which has no tokens"
                )
            prompt[row] = embedding_table[ids].mean(axis=0)
        return prompt

    return initial_prompt


def from_text(text: str, population: int = _POPULATION) -> InitialPrompt:
    """A text's tokens, one a row, the rest as `sampled_vocab`.

    A text longer than the prompt is cut.

    Raises:
        ValueError: `text` is empty.
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"`text` must not be empty. Received: text={text!r}")
    fallback = sampled_vocab(population)

    def initial_prompt(
        embedding_table: FloatArray,
        tokenizer: Tokenizer,
        prompt_length: int,
        rng: np.random.Generator,
    ) -> FloatArray:
        prompt = fallback(embedding_table, tokenizer, prompt_length, rng)
        ids = tokenizer.encode(text)[:prompt_length]
        prompt[: len(ids)] = embedding_table[ids]
        return prompt

    return initial_prompt


def from_file(path: str | Path) -> InitialPrompt:
    """A prompt as it is, in any format of `prompt_formats.formats`.

    Raises:
        FileNotFoundError: nothing is at the path.
        ValueError: it holds no prompt, a damaged one, or, when it is used, one
            of another shape than (P, D).
    """
    from keras_prompt.prompt_formats import formats

    value = formats.read(path).prompt

    def initial_prompt(
        embedding_table: FloatArray,
        tokenizer: Tokenizer,
        prompt_length: int,
        rng: np.random.Generator,
    ) -> FloatArray:
        expected = (prompt_length, embedding_table.shape[1])
        if value.shape != expected:
            raise ValueError(
                f"The prompt at {path} has shape {value.shape}; this model "
                f"needs (prompt_length, d_model) = {expected}."
            )
        return value

    return initial_prompt


def _checked_labels(labels: Sequence[str]) -> list[str]:
    # Which row would be whose, of a set?
    is_sequence = not isinstance(labels, (str, Set))
    words = list(labels) if is_sequence else []
    if not words or not all(isinstance(w, str) and w.strip() for w in words):
        raise ValueError(
            "`labels` must be a sequence of words, none of them empty. "
            f"Received: labels={labels!r}"
        )
    return words
