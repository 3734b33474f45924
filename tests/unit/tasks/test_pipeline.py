"""The batches of make_dataset, token for token."""

import itertools
import logging

import numpy as np
import pytest
import tensorflow as tf

from keras_prompt import tasks
from keras_prompt.tasks import token_rows
from keras_prompt.tasks.pipeline import make_dataset
from keras_prompt.tasks.task import Task


class NumberTokenizer:
    """Reads "9 5 7" as the ids 9, 5 and 7."""

    pad_id, eos_id = 0, 1

    def encode_tensor(self, texts):
        words = tf.strings.split(texts)
        return words.with_values(tf.strings.to_number(words.values, tf.int32))


def _task(pairs, split="train", **arguments):
    rows = [{"inputs": i, "targets": t} for i, t in pairs]
    return Task(
        "numbers", tasks.RowsSource({split: rows}), closed=False, **arguments
    )


def _numbered(count):
    """Row n is n + 10, one to five times; its target n + 10."""
    return [(f"{n + 10} " * (n % 5 + 1), str(n + 10)) for n in range(count)]


def _batches(dataset, count=None):
    return [
        tf.nest.map_structure(lambda tensor: tensor.numpy(), batch)
        for batch in itertools.islice(dataset, count)
    ]


def _row_numbers(batches):
    return [(y[:, 0] - 10).tolist() for _, y, _ in batches]


def _assert_equal(first, second):
    assert len(first) == len(second)
    tf.nest.map_structure(np.testing.assert_array_equal, first, second)


def test_a_batch_holds_exactly_these_arrays():
    task = _task([("9 5 7", "8"), ("6", "4 3")], "validation")
    ((x, y, weight),) = _batches(
        make_dataset(task, "validation", NumberTokenizer())
    )
    np.testing.assert_array_equal(
        x["encoder_token_ids"], [[9, 5, 7, 1], [6, 1, 0, 0]]
    )
    np.testing.assert_array_equal(
        x["encoder_padding_mask"],
        [[True, True, True, True], [True, True, False, False]],
    )
    np.testing.assert_array_equal(y, [[8, 1, 0], [4, 3, 1]])
    np.testing.assert_array_equal(
        x["decoder_token_ids"], [[0, 8, 1], [0, 4, 3]]
    )
    np.testing.assert_array_equal(weight, [[1, 1, 0], [1, 1, 1]])
    found = {key: value.dtype.name for key, value in x.items()}
    assert found == {
        "encoder_token_ids": "int32",
        "encoder_padding_mask": "bool",
        "decoder_token_ids": "int32",
    }
    assert (y.dtype.name, weight.dtype.name) == ("int32", "float32")


def test_an_input_too_long_is_cut_keeps_eos_and_is_reported(caplog):
    task = _task([("9 5 7 6", "8"), ("9 5 7", "8"), ("9", "8")], "validation")
    with caplog.at_level(logging.WARNING, "keras_prompt"):
        dataset = make_dataset(
            task, "validation", NumberTokenizer(), input_length=4
        )
    ((x, _, _),) = _batches(dataset)
    np.testing.assert_array_equal(
        x["encoder_token_ids"], [[9, 5, 7, 1], [9, 5, 7, 1], [9, 1, 0, 0]]
    )
    assert (
        "numbers, split 'validation': cut 1 of 3 inputs to 4 tokens; "
        "the longest has 5." in caplog.text
    )


def test_nothing_is_reported_when_nothing_is_cut(caplog):
    make_dataset(_task([("9", "8")]), "train", NumberTokenizer())
    assert not caplog.records


def test_a_target_too_long_is_refused_with_the_length_to_pass():
    task = _task([("9", "8 7"), ("9", "8 7 6 5"), ("9", "8 7 6")])
    with pytest.raises(
        ValueError,
        match=r"2 of 3 targets are longer than target_length=3; the longest "
        r"has 5 tokens\. Pass target_length=5\.",
    ):
        make_dataset(task, "train", NumberTokenizer(), target_length=3)
    assert make_dataset(task, "train", NumberTokenizer(), target_length=5)


def test_an_empty_input_is_its_eos():
    task = _task([("", "8")])
    ((x, _, _),) = _batches(make_dataset(task, "train", NumberTokenizer()))
    np.testing.assert_array_equal(x["encoder_token_ids"], [[1]])


def test_a_label_that_is_not_the_tasks_is_refused():
    rows = [{"inputs": "9", "targets": "yes"}, {"inputs": "9", "targets": "ye"}]
    source = tasks.RowsSource({"train": rows})
    task = Task("words", source, labels=("no", "yes"))
    with pytest.raises(
        ValueError,
        match=r"Row 1 of split 'train' of task 'words': Unknown label 'ye'\. "
        r"Did you mean 'yes'\?",
    ):
        make_dataset(task, "train", NumberTokenizer())


@pytest.mark.parametrize("extra", [{"targets": "<unk>"}, {"label": -1}])
def test_a_split_without_labels_is_refused(extra):
    rows = [{"inputs": "9", "targets": "8"} | extra]
    task = Task("numbers", tasks.RowsSource({"test": rows}), closed=False)
    with pytest.raises(ValueError, match=r"of split 'test' .* has no label"):
        make_dataset(task, "test", NumberTokenizer())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be a positive integer"),
        ({"input_length": 1}, "`input_length` must be an integer of at least"),
        ({"target_length": 1}, "`target_length` must be an integer of at lea"),
        ({"seed": -1}, "`seed` must be an integer of at least 0"),
        ({"batch_size": 2.5}, "Received: batch_size=2.5"),
        ({"batch_size": 3, "drop_remainder": True}, "has 2 rows, not one bat"),
    ],
)
def test_an_argument_out_of_range_is_refused(arguments, message):
    task = _task([("9", "8"), ("7", "6")])
    with pytest.raises(ValueError, match=message):
        make_dataset(task, "train", NumberTokenizer(), **arguments)


def test_the_last_short_batch_is_kept_and_rows_keep_their_order():
    task = _task(_numbered(7), "validation")
    dataset = make_dataset(task, "validation", NumberTokenizer(), batch_size=3)
    assert _row_numbers(_batches(dataset)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert int(dataset.cardinality()) == 3


def test_the_remainder_is_dropped_only_on_request():
    task = _task(_numbered(7), "validation")
    dataset = make_dataset(
        task,
        "validation",
        NumberTokenizer(),
        batch_size=3,
        drop_remainder=True,
    )
    assert _row_numbers(_batches(dataset)) == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("length_buckets", [True, False])
def test_every_row_comes_once_in_an_epoch_and_epochs_differ(length_buckets):
    dataset = make_dataset(
        _task(_numbered(23)),
        "train",
        NumberTokenizer(),
        batch_size=4,
        length_buckets=length_buckets,
        repeat=True,
    )
    numbers = _row_numbers(_batches(dataset, 12))
    first, second = numbers[:6], numbers[6:]
    assert sorted(itertools.chain(*first)) == list(range(23))
    assert sorted(itertools.chain(*second)) == list(range(23))
    assert first != second


def test_the_seed_alone_decides_the_order():
    def numbers(seed):
        dataset = make_dataset(
            _task(_numbered(23)), "train", NumberTokenizer(), seed=seed
        )
        return _row_numbers(_batches(dataset))

    assert numbers(5) == numbers(5)
    assert numbers(5) != numbers(6)


def test_buckets_put_equal_lengths_together():
    dataset = make_dataset(
        _task(_numbered(40)), "train", NumberTokenizer(), batch_size=4
    )
    batches = _batches(dataset)
    # 8 rows of each of five lengths make two full batches of each.
    for x, _, _ in batches:
        assert x["encoder_padding_mask"].all()
    lengths = [x["encoder_token_ids"].shape[1] for x, _, _ in batches]
    assert lengths != sorted(lengths)


def test_a_dropped_remainder_is_not_always_the_longest():
    dataset = make_dataset(
        _task(_numbered(9)),
        "train",
        NumberTokenizer(),
        batch_size=4,
        drop_remainder=True,
        repeat=True,
    )
    numbers = _row_numbers(_batches(dataset, 2 * 30))
    dropped = {
        (set(range(9)) - {*numbers[e], *numbers[e + 1]}).pop()
        for e in range(0, 60, 2)
    }
    assert len(dropped) > 4


@pytest.mark.parametrize("start", [0, 1, 5, 6, 13, 6_000_003])
def test_a_stream_that_starts_anywhere_equals_the_uninterrupted_one(start):
    def stream():
        return make_dataset(
            _task(_numbered(23)),
            "train",
            NumberTokenizer(),
            batch_size=4,
            repeat=True,
        )

    whole, resumed = stream(), stream()
    # Far out the whole stream, too, starts at the beginning of an epoch.
    begin = start - start % 6 if start > 100 else 0
    whole.position.batch.assign(begin)
    resumed.position.batch.assign(start)
    expected = _batches(whole, start - begin + 15)[start - begin :]
    _assert_equal(_batches(resumed, 15), expected)


def test_one_pass_gives_the_rest_of_the_epoch_it_starts_in():
    dataset = make_dataset(
        _task(_numbered(23)), "train", NumberTokenizer(), batch_size=4
    )
    endless = make_dataset(
        _task(_numbered(23)),
        "train",
        NumberTokenizer(),
        batch_size=4,
        repeat=True,
    )
    assert dataset.position.batches_per_epoch == 6
    dataset.position.batch.assign(8)
    assert int(dataset.cardinality()) == 4
    _assert_equal(_batches(dataset), _batches(endless, 12)[8:])


def test_the_position_is_read_when_an_iterator_is_made_and_never_moved():
    dataset = make_dataset(
        _task(_numbered(23)), "train", NumberTokenizer(), batch_size=4
    )
    first = _batches(dataset)
    assert int(dataset.position.batch) == 0
    _assert_equal(_batches(dataset), first)
    dataset.position.batch.assign(6)
    assert _row_numbers(_batches(dataset)) != _row_numbers(first)


def test_an_endless_dataset_says_so():
    dataset = make_dataset(
        _task(_numbered(3)), "train", NumberTokenizer(), repeat=True
    )
    assert int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY


def test_static_shapes_are_known_before_a_batch_is_made():
    dataset = make_dataset(
        _task(_numbered(7)),
        "train",
        NumberTokenizer(),
        input_length=9,
        target_length=4,
        batch_size=3,
        static_shapes=True,
        drop_remainder=True,
    )
    x, y, weight = dataset.element_spec
    assert {key: tuple(value.shape) for key, value in x.items()} == {
        "encoder_token_ids": (3, 9),
        "encoder_padding_mask": (3, 9),
        "decoder_token_ids": (3, 4),
    }
    assert tuple(y.shape) == tuple(weight.shape) == (3, 4)
    ((x, y, _), _) = _batches(dataset)
    assert x["encoder_token_ids"].shape == (3, 9)


def test_static_shapes_keep_the_last_short_batch():
    dataset = make_dataset(
        _task(_numbered(4)),
        "train",
        NumberTokenizer(),
        input_length=9,
        batch_size=3,
        static_shapes=True,
    )
    shapes = {x["encoder_token_ids"].shape for x, _, _ in _batches(dataset)}
    assert shapes == {(3, 9), (1, 9)}


def test_only_train_is_shuffled_unless_asked():
    pairs = _numbered(23)

    def numbers(split, **arguments):
        dataset = make_dataset(
            _task(pairs, split), split, NumberTokenizer(), **arguments
        )
        return [*itertools.chain(*_row_numbers(_batches(dataset)))]

    in_order = list(range(23))
    assert numbers("validation") == in_order
    assert numbers("train") != in_order
    assert numbers("train", shuffle=False) == in_order
    assert numbers("validation", shuffle=True) != in_order


def test_the_tokens_are_those_that_the_tokenizer_gives_one_by_one(
    tiny_tokenizer,
):
    texts = ["the film is a delight", "a dog barked", "ünknown", "choice1"]
    task = _task([(text, "True") for text in texts], "validation")
    ((x, y, _),) = _batches(make_dataset(task, "validation", tiny_tokenizer))
    for row, text in zip(x["encoder_token_ids"], texts, strict=True):
        assert row[row != 0].tolist() == [*tiny_tokenizer.encode(text), 1]
    assert y[0].tolist() == [*tiny_tokenizer.encode("True"), 1]


def test_a_sentinel_in_a_text_is_the_token_that_generation_sees(
    tiny_tokenizer, monkeypatch
):
    # In the first part of three and in the last; the second is vectorised.
    monkeypatch.setattr(token_rows, "_TEXTS_AT_A_TIME", 2)
    texts = [
        "a <extra_id_0> film",
        "the film",
        "a dog",
        "<extra_id_100> is no sentinel",
        "<extra_id_7>",
    ]
    task = _task([(text, f"{text} dull") for text in texts], "validation")
    ((x, y, _),) = _batches(
        make_dataset(task, "validation", tiny_tokenizer, target_length=40)
    )
    last = tiny_tokenizer.vocabulary_size - 1
    assert last in x["encoder_token_ids"][0]
    assert x["encoder_token_ids"][4, :2].tolist() == [last - 7, 1]
    for row, target, text in zip(x["encoder_token_ids"], y, texts, strict=True):
        assert row[row != 0].tolist() == [*tiny_tokenizer.encode(text), 1]
        expected = [*tiny_tokenizer.encode(f"{text} dull"), 1]
        assert target[target != 0].tolist() == expected
