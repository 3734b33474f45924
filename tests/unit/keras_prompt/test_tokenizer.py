"""Token ids in a graph."""

import keras
import pytest
import tensorflow as tf

TEXTS = ["the film is a delight", "", "a dull film"]


@pytest.mark.parametrize("is_cleared", [False, True])
def test_graphs_make_the_same_ids_even_when_keras_session_is_cleared(
    tiny_tokenizer, is_cleared
):
    expected = [tiny_tokenizer.encode(text) for text in TEXTS]
    texts = tf.constant(TEXTS)
    before = tf.function(tiny_tokenizer.encode_tensor)
    assert before(texts).to_list() == expected
    assert tiny_tokenizer.encode_tensor(texts).to_list() == expected
    if is_cleared:
        keras.utils.clear_session()
    assert tiny_tokenizer.encode_tensor(texts).to_list() == expected
    assert before(texts).to_list() == expected
    after = tf.function(tiny_tokenizer.encode_tensor)
    assert after(texts).to_list() == expected
    rows = tf.data.Dataset.from_tensors(texts)
    (found,) = rows.map(tiny_tokenizer.encode_tensor)
    assert found.to_list() == expected
