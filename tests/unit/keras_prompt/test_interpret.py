"""Nearest vocabulary entries, on a table that a reader can check by hand."""

import types

import numpy as np
import pytest

from keras_prompt.interpret import nearest_pieces

PIECES = ("film", "dull", "a")
TOKENIZER = types.SimpleNamespace(
    vocabulary_size=3, piece=lambda token_id: PIECES[token_id]
)
# Directions: east, north and a little east, south. The last row is padding
# of the table: it lies past the vocabulary.
TABLE = np.asarray([[1, 0], [30, 40], [0, -2], [0, 1]], np.float32)


def _vectors(*rows):
    return np.asarray(rows, np.float32)


def test_entries_are_ordered_by_cosine_not_by_length():
    first, second = nearest_pieces(
        _vectors((2, 0), (0, 0.5)), TABLE, TOKENIZER, count=2
    )
    assert first == [("film", pytest.approx(1)), ("dull", pytest.approx(0.6))]
    assert second == [("dull", pytest.approx(0.8)), ("film", 0)]


def test_rows_past_the_vocabulary_are_no_entries():
    ((nearest, *_),) = nearest_pieces(_vectors((0, 9)), TABLE, TOKENIZER)
    assert nearest == ("dull", pytest.approx(0.8))


def test_a_vector_of_zeros_is_near_to_nothing():
    (row,) = nearest_pieces(_vectors((0, 0)), TABLE, TOKENIZER)
    assert [cosine for _, cosine in row] == [0, 0, 0]


def test_a_prompt_of_another_width_is_refused():
    with pytest.raises(ValueError, match=r"vectors of 3 numbers, .* of 2"):
        nearest_pieces(_vectors((0, 0, 0)), TABLE, TOKENIZER)
