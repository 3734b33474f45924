"""The layer that puts the prompt in front."""

import keras
import numpy as np
import pytest

from keras_prompt.layers.prompt_embedding import PromptEmbedding

TOKENS = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
MASK = np.array([[True, True, True], [True, False, False]])


def test_prompt_comes_first_and_is_never_masked():
    layer = PromptEmbedding(2)
    x, mask = layer(TOKENS, MASK)
    assert x.shape == (2, 5, 4)
    np.testing.assert_array_equal(x[0, :2], layer.embeddings)
    np.testing.assert_array_equal(x[1, :2], layer.embeddings)
    np.testing.assert_array_equal(x[:, 2:], TOKENS)
    np.testing.assert_array_equal(mask[:, :2], True)
    np.testing.assert_array_equal(mask[:, 2:], MASK)


def test_a_keras_mask_is_extended():
    tokens = keras.Input((None,), dtype="int32")
    embedded = keras.layers.Embedding(9, 4, mask_zero=True)(tokens)
    x, mask = PromptEmbedding(2)(embedded)
    model = keras.Model(tokens, [x, mask])
    _, found = model.predict(np.array([[3, 0, 0]]), verbose=0)
    np.testing.assert_array_equal(found, [[True, True, True, False, False]])


def test_the_default_start_is_the_papers_range():
    layer = PromptEmbedding(400)
    layer.build((None, None, 8))
    value = layer.embeddings.numpy()
    assert -0.5 <= value.min() < -0.49
    assert 0.49 < value.max() <= 0.5


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16", "float32"])
def test_the_weight_is_float32_and_the_output_the_inputs_type(dtype):
    layer = PromptEmbedding(2, dtype=dtype)
    x, _ = layer(keras.ops.cast(TOKENS, "bfloat16"), MASK)
    assert keras.backend.standardize_dtype(x.dtype) == "bfloat16"
    assert layer.embeddings.dtype == "float32"
    assert len(layer.trainable_weights) == len(layer.weights) == 1


def test_symbolic_outputs_have_the_same_types():
    tokens = keras.KerasTensor((None, None, 4), "bfloat16")
    x, mask = PromptEmbedding(2)(tokens)
    assert (x.dtype, x.shape) == ("bfloat16", (None, None, 4))
    assert (mask.dtype, mask.shape) == ("bool", (None, None))


def test_a_prompt_stands_before_an_empty_input():
    layer = PromptEmbedding(2)
    x, mask = layer(TOKENS[:, :0], MASK[:, :0])
    np.testing.assert_array_equal(x, np.stack([layer.embeddings] * 2))
    np.testing.assert_array_equal(mask, np.ones((2, 2), bool))


@pytest.mark.parametrize("length", [0, -1, 1.5, True, "3", None])
def test_a_prompt_length_that_is_no_positive_integer_is_refused(length):
    with pytest.raises(ValueError, match="`prompt_length` must be a positive"):
        PromptEmbedding(length)


def test_a_wrong_input_rank_is_refused():
    with pytest.raises(ValueError, match=r"\(batch, length, d_model\)"):
        PromptEmbedding(2)(TOKENS[0])


def test_config_round_trip():
    layer = PromptEmbedding(7, prompt_initializer="zeros", name="p")
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert copy.prompt_length == 7
    assert copy.get_config() == layer.get_config()
