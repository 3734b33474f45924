"""The paper's initialisations, by their exact definitions."""

import types

import numpy as np
import pytest

from keras_prompt import initial_prompts
from keras_prompt.prompt_files import PromptCard, write_prompt


@pytest.fixture
def table(tiny_tokenizer):
    """Row i is (i, -i): a vector tells which row it was."""
    rows = np.arange(tiny_tokenizer.vocabulary_size, dtype=np.float32)
    return np.stack([rows, -rows], axis=1)


def make(initial_prompt, table, tokenizer, length, seed=0):
    rng = np.random.default_rng(seed)
    return initial_prompt(table, tokenizer, length, rng)


def test_random_uniform_spans_the_papers_range(table, tiny_tokenizer):
    start = initial_prompts.random_uniform()
    value = make(start, table, tiny_tokenizer, 2000)
    assert value.dtype == np.float32
    assert -0.5 <= value.min() < -0.49
    assert 0.49 < value.max() <= 0.5
    other = initial_prompts.random_uniform(0.0, 0.5)
    assert make(other, table, tiny_tokenizer, 2000).min() >= 0


def test_sampled_vocab_draws_distinct_common_tokens(table, tiny_tokenizer):
    start = initial_prompts.sampled_vocab(population=20)
    drawn = make(start, table, tiny_tokenizer, 20)[:, 0]
    assert sorted(drawn) == list(range(20))
    again = make(start, table, tiny_tokenizer, 20, seed=1)[:, 0]
    assert sorted(again) == list(range(20))
    assert list(again) != list(drawn)


def test_sampled_vocab_draws_no_sentinel_and_no_padding(table, tiny_tokenizer):
    padded = np.concatenate([table, table[:28]])
    pieces = tiny_tokenizer.piece_count
    start = initial_prompts.sampled_vocab()
    drawn = make(start, padded, tiny_tokenizer, pieces)[:, 0]
    assert sorted(drawn) == list(range(pieces))


def test_the_papers_5000_most_common_tokens_are_drawn_from():
    """Section 3.2; of a vocabulary of 6,000, whose last is a label's."""
    rows = np.arange(6000, dtype=np.float32)
    table = np.stack([rows, -rows], axis=1)
    tokenizer = types.SimpleNamespace(
        piece_count=6000, vocabulary_size=6000, encode=lambda word: [5999]
    )
    drawn = make(initial_prompts.sampled_vocab(), table, tokenizer, 5000)[:, 0]
    assert sorted(drawn) == list(range(5000))
    start = initial_prompts.class_labels(["positive"])
    label, *rest = make(start, table, tokenizer, 5000)[:, 0]
    assert label == 5999
    assert list(rest) == list(drawn[1:])


def test_sampled_vocab_repeats_only_when_it_must_and_warns(
    table, tiny_tokenizer
):
    start = initial_prompts.sampled_vocab(population=4)
    with pytest.warns(UserWarning, match="some repeat"):
        drawn = make(start, table, tiny_tokenizer, 9)[:, 0]
    assert set(drawn) <= {0, 1, 2, 3}


def test_class_labels_are_means_of_their_tokens(table, tiny_tokenizer):
    labels = ["positive", "a delight"]
    start = initial_prompts.class_labels(labels)
    value = make(start, table, tiny_tokenizer, 5)
    for row, label in enumerate(labels):
        ids = tiny_tokenizer.encode(label)
        assert value[row, 0] == pytest.approx(np.mean(ids))
    fallback = initial_prompts.sampled_vocab()
    rest = make(fallback, table, tiny_tokenizer, 5)[2:]
    np.testing.assert_array_equal(value[2:], rest)


def test_a_label_without_tokens_is_refused(table, tiny_tokenizer):
    start = initial_prompts.class_labels(["a", "\u200b"])
    with pytest.raises(ValueError, match=r"'\\u200b', which has no tokens"):
        make(start, table, tiny_tokenizer, 3)


def test_more_labels_than_rows_warn(table, tiny_tokenizer):
    start = initial_prompts.class_labels(["a", "the", "film"])
    with pytest.warns(UserWarning, match="3 labels .* 2 vectors"):
        make(start, table, tiny_tokenizer, 2)


def test_from_text_gives_a_token_a_row(table, tiny_tokenizer):
    text = "the film is a delight"
    ids = tiny_tokenizer.encode(text)
    start = initial_prompts.from_text(text)
    value = make(start, table, tiny_tokenizer, len(ids) + 2)
    assert list(value[: len(ids), 0]) == ids
    short = make(start, table, tiny_tokenizer, 2)
    assert list(short[:, 0]) == ids[:2]


def test_from_file_gives_the_array(table, tiny_tokenizer, tmp_path):
    expected = np.ones((3, 2), np.float32)
    np.save(tmp_path / "p.npy", expected)
    start = initial_prompts.from_file(tmp_path / "p.npy")
    value = make(start, table, tiny_tokenizer, 3)
    np.testing.assert_array_equal(value, expected)
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(4, 2\)"):
        make(start, table, tiny_tokenizer, 4)


def test_from_file_takes_an_exported_prompt(table, tiny_tokenizer, tmp_path):
    expected = np.arange(6, dtype=np.float32).reshape(3, 2)
    write_prompt(tmp_path / "p", expected, PromptCard("base", "f", 3, 2))
    start = initial_prompts.from_file(tmp_path / "p")
    value = make(start, table, tiny_tokenizer, 3)
    np.testing.assert_array_equal(value, expected)


def test_files_that_are_no_prompt_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="No prompt at"):
        initial_prompts.from_file(tmp_path / "absent.npy")
    np.save(tmp_path / "whole.npy", np.zeros((9, 9), np.float32))
    cut = tmp_path / "cut.npy"
    cut.write_bytes((tmp_path / "whole.npy").read_bytes()[:-7])
    with pytest.raises(ValueError, match="not a complete"):
        initial_prompts.from_file(cut)
    np.savez(tmp_path / "several.npz", np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match="holds no prompt"):
        initial_prompts.from_file(tmp_path / "several.npz")
    np.save(tmp_path / "pickled.npy", np.array([[{}]], object))
    with pytest.raises(ValueError, match="not a complete"):
        initial_prompts.from_file(tmp_path / "pickled.npy")
    np.save(tmp_path / "nan.npy", np.full((2, 2), np.nan, np.float32))
    with pytest.raises(ValueError, match="not finite"):
        initial_prompts.from_file(tmp_path / "nan.npy")
    np.save(tmp_path / "flat.npy", np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="must hold a float array"):
        initial_prompts.from_file(tmp_path / "flat.npy")


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="`labels` must be"):
        initial_prompts.class_labels("positive")
    with pytest.raises(ValueError, match="`labels` must be"):
        initial_prompts.class_labels([])
    with pytest.raises(ValueError, match="`text` must not be empty"):
        initial_prompts.from_text(" ")
    with pytest.raises(ValueError, match="`population` must be"):
        initial_prompts.sampled_vocab(0)
    with pytest.raises(ValueError, match="`low` must be below"):
        initial_prompts.random_uniform(1, 1)
