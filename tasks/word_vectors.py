"""Vectors of a vocabulary's pieces from what stands near them in a corpus.

They are a start for an embedding table: a short pre-training, which sees a
rare piece a few hundred times, does not get as far from random ones.

Letters: V pieces, D dimensions.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from keras_prompt.tasks.text_corpus import TokenCorpus

# Levy, Goldberg and Dagan 2015 ("Improving Distributional Similarity with
# Lessons Learned from Word Embeddings"), sections 3.1 to 3.3: a neighbour
# counts less the farther off it is; frequent contexts are smoothed by this
# power; the singular vectors are not weighted by their singular values.
_WINDOW = 5
_SMOOTHING = 0.75
_NOTHING = 1e-6  # a vector of rounding errors, in the norm of all being 1
_CHUNK_TOKENS = 8_000_000  # at a time, for want of memory


def word_vectors(
    corpus: TokenCorpus, vocabulary_size: int, dimensions: int, seed: int = 0
) -> dict[int, npt.NDArray[np.float32]]:
    """Singular vectors of the pieces' positive mutual information.

    Of the training split alone. Their numbers have a root mean square of 1, as
    T5's random embeddings have.

    Args:
        corpus: token ids.
        vocabulary_size: V, more than every id.
        dimensions: D, less than V.
        seed: of the randomized decomposition.

    Returns:
        float32 (D,) by token id; none for a piece of which too little is known.

    Raises:
        ValueError: `dimensions` is not less than `vocabulary_size`.
    """
    if not 0 < dimensions < vocabulary_size:
        raise ValueError(
            "`dimensions` must be from 1 to one less than the vocabulary's "
            f"{vocabulary_size} ids. Received: dimensions={dimensions}"
        )
    information = _positive_information(_counts(corpus, vocabulary_size))
    vectors, _, _ = randomized_svd(
        information, dimensions, n_iter=4, random_state=seed
    )
    norms = np.linalg.norm(vectors, axis=1)
    known = np.flatnonzero(norms > _NOTHING)
    scaled = vectors[known] / norms[known, None] * np.sqrt(dimensions)
    return dict(zip(known.tolist(), scaled.astype(np.float32), strict=True))


def _counts(corpus: TokenCorpus, size: int) -> sparse.csr_matrix:
    """How often two pieces stand near each other, (V, V), symmetric."""
    counts = sparse.csr_matrix((size + 1, size + 1), dtype=np.float64)
    for tokens in _chunks(corpus, gap=size):
        for distance in range(1, _WINDOW + 1):
            pairs = tokens[:-distance], tokens[distance:]
            weight = np.full(len(pairs[0]), 1 - (distance - 1) / _WINDOW)
            counts += sparse.coo_matrix((weight, pairs), counts.shape).tocsr()
    counts = counts[:size, :size]
    return (counts + counts.T).tocsr()


def _chunks(corpus: TokenCorpus, gap: int) -> Iterator[npt.NDArray[np.int32]]:
    """Pieces of the training split, so far apart that none sees another."""
    between = np.full(_WINDOW, gap, np.int32)
    parts: list[npt.NDArray[np.int32]] = []
    length = 0
    for index in corpus.pieces("train"):
        parts += [corpus.piece(index), between]
        length += len(parts[-2])
        if length >= _CHUNK_TOKENS:
            yield np.concatenate(parts)
            parts, length = [], 0
    if parts:
        yield np.concatenate(parts)


def _positive_information(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """max(0, log(p(a, b) / (p(a) p(b)))) where a and b were ever near."""
    totals = np.asarray(counts.sum(axis=1)).ravel()
    contexts = totals**_SMOOTHING
    contexts /= contexts.sum()
    pairs = counts.tocoo()
    information = np.log(
        pairs.data / (totals[pairs.row] * contexts[pairs.col])
    ).clip(min=0)
    found = sparse.csr_matrix(
        (information, (pairs.row, pairs.col)), pairs.shape
    )
    found.eliminate_zeros()
    return found
