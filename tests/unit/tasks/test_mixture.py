"""Batches that mix tasks."""

import pytest

from keras_prompt.tasks.mixture import make_mixture_dataset
from keras_prompt.tasks.pipeline import make_dataset
from keras_prompt.tasks.sources import RowsSource
from keras_prompt.tasks.task import Task

OPTIONS = {"input_length": 24, "target_length": 12, "seed": 5}


def task(name, count):
    rows = [
        {"inputs": f"{name}{' a' * i}", "targets": "True"} for i in range(count)
    ]
    return Task(name, RowsSource({"train": rows}), labels=("True",))


@pytest.fixture
def tasks():
    return [task("dog", 7), task("cast", 3), task("moon", 11)]


def mixture(tasks, tokenizer, **options):
    return make_mixture_dataset(tasks, "train", tokenizer, **OPTIONS, **options)


def rows_of(batch, index):
    x, y, weight = batch
    mine = x["task_index"].numpy() == index
    found = []
    for ids, mask, target, w in zip(
        x["encoder_token_ids"].numpy()[mine],
        x["encoder_padding_mask"].numpy()[mine],
        y.numpy()[mine],
        weight.numpy()[mine],
        strict=True,
    ):
        found.append((ids[mask].tolist(), target[w > 0].tolist()))
    return found


def test_batch_g_holds_each_tasks_own_batch_g(tasks, tiny_tokenizer):
    sizes = {"dog": 2, "cast": 2, "moon": 3}
    mixed = mixture(tasks, tiny_tokenizer, batch_size=sizes, repeat=True)
    batches = list(mixed.take(9))
    for index, one in enumerate(tasks):
        alone = make_dataset(
            one,
            "train",
            tiny_tokenizer,
            **OPTIONS,
            batch_size=sizes[one.name],
            repeat=True,
        ).take(9)
        for batch, (x, y, weight) in zip(batches, alone, strict=True):
            x["task_index"] = y[:, 0] * 0 + index
            assert rows_of(batch, index) == rows_of((x, y, weight), index)


def test_an_epoch_ends_with_the_task_of_most_batches(tasks, tiny_tokenizer):
    mixed = mixture(tasks, tiny_tokenizer, batch_size=3)
    assert mixed.position.batches_per_epoch == 4
    assert int(mixed.cardinality()) == 4
    batches = list(mixed)
    assert len(batches) == 4
    seen = [ids for batch in batches for ids in rows_of(batch, 2)]
    assert len(seen) == 11
    assert len({tuple(ids) for ids, _ in seen}) == 11
    assert mixed.task_names == ["dog", "cast", "moon"]


@pytest.mark.parametrize("repeat", [False, True])
def test_a_position_gives_what_follows_it(tasks, tiny_tokenizer, repeat):
    mixed = mixture(tasks, tiny_tokenizer, batch_size=3, repeat=repeat)
    whole = list(mixed.take(4))
    mixed.position.batch.assign(2)
    rest = list(mixed.take(2))
    assert len(rest) == 2
    for expected, found in zip(whole[2:], rest, strict=True):
        for index in range(3):
            assert rows_of(found, index) == rows_of(expected, index)


def test_static_shapes_are_static(tasks, tiny_tokenizer):
    mixed = mixture(tasks, tiny_tokenizer, batch_size=3, static_shapes=True)
    shapes = {
        tuple(x["encoder_token_ids"].shape) + tuple(y.shape)
        for x, y, _ in mixed
    }
    assert shapes == {(9, 24, 9, 12)}
    with pytest.raises(ValueError, match="'cast' has 3 rows, not one batch"):
        mixture(tasks, tiny_tokenizer, batch_size=4, static_shapes=True)


@pytest.mark.parametrize(
    ("batch_size", "message"),
    [
        ({"dog": 2, "cast": 1}, "one for each task"),
        ({"dog": 2, "cast": 1, "mon": 1}, "one for each task"),
        (0, "a positive integer"),
    ],
)
def test_sizes_must_be_those_of_the_tasks(
    tasks, tiny_tokenizer, batch_size, message
):
    with pytest.raises(ValueError, match=message):
        mixture(tasks, tiny_tokenizer, batch_size=batch_size)


def test_tasks_must_be_several_names(tasks, tiny_tokenizer):
    for wrong in ([], [tasks[0], tasks[0]]):
        with pytest.raises(ValueError, match="of different names"):
            mixture(wrong, tiny_tokenizer)
