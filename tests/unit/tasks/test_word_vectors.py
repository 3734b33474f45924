"""Vectors from neighbours, beside the same sums in plain Python."""

import collections
import math

import numpy as np
import pytest

from keras_prompt.tasks import word_vectors as module
from keras_prompt.tasks.text_corpus import TokenCorpus
from keras_prompt.tasks.word_vectors import word_vectors

V = 12


@pytest.fixture
def corpus():
    """40 pieces of 3 to 9 tokens, ids 1 to 9; every fourth is held out."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 10, 40)
    return TokenCorpus(
        tokens=rng.integers(1, 10, lengths.sum()).astype(np.uint16),
        starts=np.cumsum([0, *lengths]),
        is_held_out=np.arange(40) % 4 == 0,
    )


def plain_information(corpus: TokenCorpus) -> np.ndarray:
    """Positive pointwise mutual information, pair by pair."""
    counts: collections.Counter[tuple[int, int]] = collections.Counter()
    for index in corpus.pieces("train"):
        piece = corpus.piece(index).tolist()
        for i, a in enumerate(piece):
            for j, b in enumerate(piece):
                if 0 < abs(i - j) <= 5:
                    counts[a, b] += (6 - abs(i - j)) / 5
    totals = [sum(counts[a, b] for b in range(V)) for a in range(V)]
    smooth = [total**0.75 for total in totals]
    found = np.zeros((V, V))
    for (a, b), count in counts.items():
        share = totals[a] * smooth[b] / sum(smooth)
        found[a, b] = max(0.0, math.log(count / share))
    return found


@pytest.mark.parametrize("chunk", [1, 30, 10_000])
def test_vectors_are_the_leading_singular_ones(corpus, monkeypatch, chunk):
    monkeypatch.setattr(module, "_CHUNK_TOKENS", chunk)
    expected = np.linalg.svd(plain_information(corpus))[0][:, :4]
    found = word_vectors(corpus, V, 4)
    assert sorted(found) == list(range(1, 10))
    for token_id, vector in found.items():
        own = expected[token_id] / np.linalg.norm(expected[token_id])
        # Whichever way a singular vector points.
        np.testing.assert_allclose(
            np.abs(vector), 2 * np.abs(own), rtol=1e-4, atol=1e-4
        )
        assert vector.dtype == np.float32
        assert np.mean(vector**2) == pytest.approx(1, abs=1e-5)


def test_held_out_pieces_change_nothing(corpus):
    other = corpus.tokens.copy()
    for index in corpus.pieces("validation"):
        other[corpus.starts[index] : corpus.starts[index + 1]] = 3
    changed = TokenCorpus(other, corpus.starts, corpus.is_held_out)
    before, after = word_vectors(corpus, V, 4), word_vectors(changed, V, 4)
    for token_id, vector in before.items():
        np.testing.assert_array_equal(after[token_id], vector)


def test_pieces_with_the_same_neighbours_are_alike():
    """3 and 4 stand after 1, 5 and 6 after 2; none beside another."""
    rows = [[1, 3], [1, 4], [2, 5], [2, 6]] * 10
    corpus = TokenCorpus(
        tokens=np.ravel(rows).astype(np.uint16),
        starts=np.arange(0, 81, 2),
        is_held_out=np.zeros(40, bool),
    )
    found = word_vectors(corpus, V, 4)
    assert found[3] @ found[4] / 4 == pytest.approx(1, abs=1e-4)
    assert found[5] @ found[6] / 4 == pytest.approx(1, abs=1e-4)
    assert abs(found[3] @ found[5]) < 1e-3


@pytest.mark.parametrize("dimensions", [0, V])
def test_more_dimensions_than_pieces_are_refused(corpus, dimensions):
    with pytest.raises(ValueError, match=f"dimensions={dimensions}"):
        word_vectors(corpus, V, dimensions)
