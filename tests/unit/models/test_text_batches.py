"""Texts of similar length are padded together; answers keep their order."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_prompt.models.text_batches import text_batches

TEXTS = [
    "the film is a delight and the cast is wonderful",
    "a film",
    "a dull and tedious film that never comes alive",
    "the cast",
    "what is a good example",
]


def test_every_text_is_in_one_batch_beside_those_of_its_length(tiny_tokenizer):
    batches = list(text_batches(TEXTS, tiny_tokenizer, 2, 64))
    rows = [batch.rows.tolist() for batch in batches]
    assert rows[0] == [1, 3]
    assert sorted(np.concatenate(rows)) == [0, 1, 2, 3, 4]
    for batch in batches:
        ids, mask = batch.features.values()
        assert mask.any(axis=0).all()  # padded to its own longest
        for row, row_ids, row_mask in zip(batch.rows, ids, mask, strict=True):
            expected = [*tiny_tokenizer.encode(TEXTS[row]), 1]
            assert row_ids[row_mask].tolist() == expected
            assert not row_ids[~row_mask].any()


def test_one_batch_keeps_the_order_of_the_texts(tiny_tokenizer):
    (batch,) = text_batches(TEXTS, tiny_tokenizer, 5, 64)
    assert batch.rows.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("batch_size", 0, "a positive integer"),
        ("input_length", 1, "an integer of at least 2"),
    ],
)
def test_sizes_that_leave_nothing_are_refused(tiny_model, name, value, rule):
    options = {"batch_size": 2, "input_length": 8, name: value}
    with pytest.raises(ValueError, match=f"`{name}` must be {rule}"):
        tiny_model.rank(TEXTS, ["positive", "negative"], **options)


def test_long_texts_are_cut_and_keep_their_end(tiny_tokenizer):
    (batch,) = text_batches(TEXTS, tiny_tokenizer, 5, 3)
    ids = batch.features["encoder_token_ids"]
    assert ids.shape == (5, 3)
    assert (ids[0, :2] == tiny_tokenizer.encode(TEXTS[0])[:2]).all()
    assert (ids[:, 2] == 1).all()


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_answers_are_in_the_order_of_the_texts(tiny_model, batch_size):
    labels = ["positive", "a", "not_entailment"]
    targets = ["a", "a delight", "the film is", "positive", "True"]
    at_once = [
        tiny_model.score(TEXTS, targets),
        tiny_model.rank(TEXTS, labels),
    ]
    in_parts = [
        tiny_model.score(TEXTS, targets, batch_size),
        tiny_model.rank(TEXTS, labels, batch_size),
    ]
    for whole, parts in zip(at_once, in_parts, strict=True):
        np.testing.assert_allclose(whole, parts, rtol=1e-5, atol=1e-5)
    written = tiny_model.generate(TEXTS, 6)
    assert len(set(written)) > 1
    assert tiny_model.generate(TEXTS, 6, batch_size) == written


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([b"a"], r"texts\[0\] is a bytes, b'a'"),
        (["a", None], r"texts\[1\] is a NoneType"),
        (["a", float("nan")], r"texts\[1\] is a float, nan"),
        ([1], r"texts\[0\] is a int"),
        ([["a", "b"]], r"texts\[0\] is a list"),
        (tf.constant(["a"]), r"texts\[0\] is a EagerTensor"),
        (np.array([["a"]]), "Received: ndarray, which is no list"),
        ({"a", "b"}, "Received: set, which is no list"),
        ({"a": 1}, "Received: dict, which is no list"),
        ((text for text in ["a"]), "Received: generator, which is no list"),
        (["a", "b\ud800"], r"texts\[1\] with '\\ud800', half a character"),
    ],
)
def test_texts_that_are_no_strings_are_named(tiny_model, texts, message):
    for answer in (
        lambda: tiny_model.generate(texts),
        lambda: tiny_model.score(texts, ["a"] * 2),
        lambda: tiny_model.rank(texts, ["a"]),
    ):
        with pytest.raises(ValueError, match=f"`texts` must be .*{message}"):
            answer()
    message = message.replace("texts", "labels")
    with pytest.raises(ValueError, match=f"`labels` must be .*{message}"):
        tiny_model.rank(["a"], texts)


def test_arrays_of_strings_and_numpy_s_integers_are_taken(tiny_model):
    expected = tiny_model.generate(TEXTS, 3)
    found = tiny_model.generate(
        np.array(TEXTS), np.int64(3), batch_size=np.int64(2)
    )
    assert found == expected


@pytest.mark.parametrize("sampler", ["random", "top_k"])
def test_a_sampler_that_draws_follows_keras_seed(tiny_model, sampler):
    def drawn():
        return tiny_model.generate(TEXTS, 6, sampler=sampler)

    keras.utils.set_random_seed(7)
    first, second = drawn(), drawn()
    keras.utils.set_random_seed(7)
    assert drawn() == first != second
