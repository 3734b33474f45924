"""Reads a prompt: which vocabulary entries lie nearest to its vectors.

Letters: P prompt length, D d_model, V vocabulary.
"""

import numpy as np

from keras_prompt.tokenizer import Tokenizer
from keras_prompt.types import FloatArray


def nearest_pieces(
    prompt: FloatArray,
    embedding_table: FloatArray,
    tokenizer: Tokenizer,
    count: int = 5,
) -> list[list[tuple[str, float]]]:
    """The nearest vocabulary entries of every prompt vector.

    Lester et al. 2021, section 7: by cosine, the frozen input embedding being
    the measure.

    Args:
        prompt: float32 (P, D).
        embedding_table: float32 (V, D).
        tokenizer: for the entries' text.
        count: neighbours a vector.

    Returns:
        P lists of `count` pairs of entry and cosine, the nearest first.

    Raises:
        ValueError: the prompt is for a model of another width.
    """
    if prompt.shape[1] != embedding_table.shape[1]:
        raise ValueError(
            f"The prompt has vectors of {prompt.shape[1]} numbers, this "
            f"model's are of {embedding_table.shape[1]}: it is not the "
            "prompt's base."
        )
    table = embedding_table[: tokenizer.vocabulary_size]
    cosines = _unit_rows(prompt) @ _unit_rows(table).T
    nearest = np.argsort(-cosines, axis=1)[:, :count]
    return [
        [(tokenizer.piece(i), float(row[i])) for i in ids]
        for row, ids in zip(cosines, nearest, strict=True)
    ]


def _unit_rows(matrix: FloatArray) -> FloatArray:
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.asarray(matrix / np.maximum(norms, 1e-12), np.float32)
