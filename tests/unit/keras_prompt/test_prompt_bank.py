"""The layer that puts each row's own prompt in front."""

import copy
import dataclasses
import pickle

import keras
import numpy as np
import pytest

from keras_prompt.layers.prompt_bank import PromptBank
from keras_prompt.layers.prompt_embedding import PromptEmbedding
from keras_prompt.prompt_files import PromptCard, write_prompt

TOKENS = np.arange(3 * 4 * 2, dtype=np.float32).reshape(3, 4, 2) + 1
MASK = np.array([[True] * 4, [True] * 2 + [False] * 2, [True] * 3 + [False]])
CARD = PromptCard("tiny", "a" * 64, prompt_length=2, d_model=2, task="long")


def written(folder, prompt, **changes):
    prompt = np.asarray(prompt, np.float32)
    length, width = prompt.shape
    shape = {"prompt_length": length, "d_model": width}
    write_prompt(folder, prompt, dataclasses.replace(CARD, **shape, **changes))
    return folder


def test_every_row_is_that_prompt_alone_without_a_gap():
    bank = PromptBank({"long": 3, "short": 1})
    order = bank.index(["short", "long", "short"])
    x, mask = bank(TOKENS, order, MASK)
    assert x.shape == (3, 7, 2)
    for row, name in enumerate(["short", "long", "short"]):
        alone = PromptEmbedding(bank.prompt_lengths[name])
        alone.build((None, None, 2))
        alone.embeddings.assign(bank.prompts[name])
        expected, expected_mask = alone(TOKENS[[row]], MASK[[row]])
        length = expected.shape[1]
        np.testing.assert_array_equal(x[row, :length], expected[0])
        np.testing.assert_array_equal(mask[row, :length], expected_mask[0])
        assert not np.asarray(mask[row, length:]).any()


def test_prompts_of_one_length_leave_no_padding():
    bank = PromptBank({"a": 2, "b": 2})
    x, mask = bank(TOKENS, np.array([1, 0, 1]))
    assert x.shape == (3, 6, 2)
    assert np.asarray(mask).all()
    np.testing.assert_array_equal(x[0, :2], bank.prompts["b"])
    np.testing.assert_array_equal(x[:, 2:], TOKENS)


def test_no_gradient_reaches_a_prompt_that_no_row_has():
    import tensorflow as tf

    bank = PromptBank({"a": 2, "b": 1, "c": 2})
    bank.build((None, None, 2))
    weights = [weight.value for weight in bank.prompts.values()]
    with tf.GradientTape() as tape:
        x, mask = bank(TOKENS, np.array([2, 0, 2]), MASK)
        loss = tf.reduce_sum(tf.where(mask[..., None], x, 0.0) ** 2)
    found = [tf.convert_to_tensor(g) for g in tape.gradient(loss, weights)]
    np.testing.assert_allclose(found[0], 2 * weights[0], rtol=1e-6)
    np.testing.assert_array_equal(found[1], np.zeros((1, 2)))
    np.testing.assert_allclose(found[2], 4 * weights[2], rtol=1e-6)


def test_it_works_between_symbolic_tensors():
    tokens = keras.Input((None, 2))
    task = keras.Input((), dtype="int32")
    bank = PromptBank({"a": 2, "b": 1}, dtype="bfloat16")
    x, mask = bank(tokens, task)
    assert (x.dtype, mask.dtype) == ("float32", "bool")
    model = keras.Model([tokens, task], [x, mask])
    index = np.array([0, 1, 0])
    found = model.predict([TOKENS, index], verbose=0)
    for got, expected in zip(found, bank(TOKENS, index), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_weights_are_float32_and_the_output_the_inputs_type(dtype):
    bank = PromptBank({"a": 2, "b": 1}, dtype=dtype)
    x, _ = bank(keras.ops.cast(TOKENS, "bfloat16"), np.zeros(3, np.int32))
    assert keras.backend.standardize_dtype(x.dtype) == "bfloat16"
    assert {weight.dtype for weight in bank.weights} == {"float32"}
    assert len(bank.trainable_weights) == 2


def test_a_bank_is_loaded_from_folders_under_its_tasks_names(tmp_path):
    first = written(tmp_path / "first", [[1, 2], [3, 4]])
    second = written(tmp_path / "second", [[5, 6]], task=None)
    bank = PromptBank.load([first, second])
    assert bank.names == ["long", "second"]
    np.testing.assert_array_equal(bank.prompts["long"], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(bank.prompts["second"], [[5, 6]])
    assert bank.cards["long"].prompt_length == 2
    named = PromptBank.load({"x": first, "y": str(first)})
    assert named.names == ["x", "y"]


def test_two_prompts_of_one_task_must_be_named(tmp_path):
    first = written(tmp_path / "first", [[1, 2], [3, 4]])
    second = written(tmp_path / "second", [[1, 2]])
    with pytest.raises(ValueError, match=r"first' and .*second' are both"):
        PromptBank.load([first, second])


def test_prompts_of_two_bases_or_widths_make_no_bank(tmp_path):
    first = written(tmp_path / "first", [[1, 2]])
    other = written(tmp_path / "o", [[1, 2]], task="rte", fingerprint="b" * 64)
    wide = written(tmp_path / "w", [[1, 2, 3]], task="wide")
    with pytest.raises(ValueError, match=r"'rte' was tuned on tiny .*bbbbbbbb"):
        PromptBank.load([first, other])
    with pytest.raises(ValueError, match="'wide' has d_model 3, 'long' 2"):
        PromptBank.load([first, wide])


def test_an_unknown_task_is_named_with_the_nearest():
    bank = PromptBank({"super_glue/boolq": 2, "super_glue/rte": 1})
    with pytest.raises(ValueError, match="Did you mean 'super_glue/boolq'"):
        bank.index(["super_glue/rte", "super_glue/bolq"])


@pytest.mark.parametrize("folders", ["prompts/rte", [], {}])
def test_what_is_no_list_of_folders_is_refused(folders):
    with pytest.raises(ValueError, match="`folders` must be several"):
        PromptBank.load(folders)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        PromptBank.load([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ({}, "at least one prompt"),
        ([3], "at least one prompt"),
        ({"": 3}, "name must be text"),
        ({"a": 0}, "`prompt_length` must be a positive"),
    ],
)
def test_what_is_no_bank_is_refused(lengths, message):
    with pytest.raises(ValueError, match=message):
        PromptBank(lengths)


def test_names_that_differ_only_in_signs_are_two_prompts():
    bank = PromptBank({"a/b": 1, "a.b": 1, "a b": 2})
    bank.build((None, None, 2))
    assert len({weight.path for weight in bank.weights}) == 3


def test_prompts_that_nobody_gave_a_value_start_each_on_its_own():
    bank = PromptBank({"a": 2, "b": 2})
    bank.build((None, None, 3))
    a, b = (weight.numpy() for weight in bank.prompts.values())
    assert not np.isin(a, b).any()
    same = PromptBank({"a": 2, "b": 2}, keras.initializers.RandomNormal(seed=1))
    same.build((None, None, 3))
    a, b = (weight.numpy() for weight in same.prompts.values())
    np.testing.assert_array_equal(a, b)


def test_config_round_trip():
    bank = PromptBank({"a/b": 1, "c": 2}, prompt_initializer="zeros", name="p")
    copy = keras.layers.deserialize(keras.layers.serialize(bank))
    assert copy.prompt_lengths == {"a/b": 1, "c": 2}
    assert copy.get_config() == bank.get_config()


# keras: it copies a variable with `np.array`, of which NumPy complains.
@pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")
def test_copies_keep_the_prompts_and_what_is_known_of_them(tmp_path):
    folder = written(tmp_path / "a", [[1, 2]], label_words=("yes", "no"))
    bank = PromptBank.load({"a": folder})
    made = keras.layers.deserialize(keras.layers.serialize(bank))
    for copy_of in (copy.deepcopy(bank), pickle.loads(pickle.dumps(bank))):
        assert copy_of.cards == made.cards == bank.cards
        np.testing.assert_array_equal(copy_of.prompts["a"], [[1, 2]])
