"""Batches that mix tasks, for a bank whose prompts learn together.

Letters: B batch.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from keras_prompt.arguments import check_integers
from keras_prompt.tasks.batch_order import BatchOrder, Position
from keras_prompt.tasks.pipeline import (
    check_not_empty,
    data_fingerprint,
    token_rows,
    with_position,
)
from keras_prompt.tasks.task import Task, is_train
from keras_prompt.tasks.token_rows import Batch, TokenRows
from keras_prompt.tokenizer import Tokenizer
from keras_prompt.types import Tensor


def make_mixture_dataset(
    tasks: Sequence[Task],
    split: str,
    tokenizer: Tokenizer,
    *,
    input_length: int = 512,
    target_length: int = 8,
    batch_size: int | Mapping[str, int] = 32,
    shuffle: bool | None = None,
    seed: int = 0,
    static_shapes: bool = False,
    length_buckets: bool = True,
    repeat: bool = False,
) -> tf.data.Dataset:
    """Batches with rows of every task, for `PromptBankT5.fit`.

    Batch g holds, one after the other, batch g of what `make_dataset` gives
    for each task with the same arguments and `repeat=True`: every prompt of a
    bank sees the rows that it would see alone. A task with fewer rows starts
    its next epoch while others are in their first; an epoch of the mixture
    ends with the epoch of the task that has most batches.

    Args:
        tasks: in the order of the bank's names.
        split: of every task, e.g. "train".
        tokenizer: the model's.
        input_length: as `make_dataset`, like all that follow.
        target_length: the most tokens of a target, EOS included.
        batch_size: rows of each task in a batch, or of each by its name. The
            last batch of a task's epoch may have fewer.
        shuffle: None is True for "train" and False for others.
        seed: of every task's order.
        static_shapes: pad to `input_length` and `target_length`; also leaves
            out the rows that would make a task's smaller batch, so that B is
            static too.
        length_buckets: when shuffling, put rows of similar length together.
        repeat: whether to go on after an epoch, for ever.

    Returns:
        A dataset of `(x, y, sample_weight)` as `make_dataset`'s, with int32
        `task_index` (B,) in x. Its `position` can be set; its `task_names`
        are what `fit` compares with the bank's.

    Raises:
        ValueError: as `make_dataset`; or tasks are none, have one name, or
            `batch_size` does not name each.
    """
    names = [task.name for task in tasks]
    if not names or len(set(names)) < len(names):
        raise ValueError(
            "`tasks` must be at least one task, of different names. "
            f"Received: {names}"
        )
    sizes = _sizes(names, batch_size)
    check_integers(
        input_length=(input_length, 2),
        target_length=(target_length, 2),
        seed=(seed, 0),
    )
    # Token ids live where tf.data runs, also on a machine with accelerators.
    with tf.device("CPU:0"):
        parts = [
            token_rows(
                task,
                split,
                tokenizer,
                input_length,
                target_length,
                static_shapes=static_shapes,
            )
            for task in tasks
        ]
        orders = [
            BatchOrder(
                lengths=part.inputs.row_lengths(),
                batch_size=size,
                seed=seed,
                shuffle=is_train(split) if shuffle is None else shuffle,
                length_buckets=length_buckets,
                drop_remainder=static_shapes,
            )
            for part, size in zip(parts, sizes, strict=True)
        ]
        for task, order in zip(tasks, orders, strict=True):
            check_not_empty(task, split, order, "static_shapes")
        dataset = _mixed(parts, orders, repeat)
        dataset.task_names = names
        return dataset


def _mixed(
    parts: Sequence[TokenRows], orders: Sequence[BatchOrder], repeat: bool
) -> tf.data.Dataset:
    counts = [int(part.inputs.nrows()) for part in parts]
    rows = TokenRows(
        inputs=tf.concat([part.inputs for part in parts], axis=0),
        targets=tf.concat([part.targets for part in parts], axis=0),
        input_length=parts[0].input_length,
        target_length=parts[0].target_length,
    )
    firsts = [sum(counts[:task]) for task in range(len(counts))]
    task_of_row = tf.repeat(tf.range(len(counts)), counts)
    position = Position(
        max(order.batches_per_epoch for order in orders),
        data_fingerprint(parts, orders),
        is_endless=repeat,
    )

    def mixed_batch(_: Tensor, *rows_of_tasks: Tensor) -> Batch:
        picked = tf.concat(
            [
                mine + first
                for mine, first in zip(rows_of_tasks, firsts, strict=True)
            ],
            axis=0,
        )
        x, y, sample_weight = rows.batch(picked)
        x["task_index"] = tf.gather(task_of_row, picked)
        return x, y, sample_weight

    streams = [order.dataset(position, repeat=True) for order in orders]
    batches = tf.data.Dataset.zip((_numbers(position, repeat), *streams))
    batches = batches.map(mixed_batch, num_parallel_calls=2, deterministic=True)
    return with_position(batches, position)


def _numbers(position: Position, repeat: bool) -> tf.data.Dataset:
    """As many as there are batches, from the position to the epoch's end."""
    if repeat:
        return tf.data.Dataset.counter()
    return position.at_start().flat_map(
        lambda _: tf.data.Dataset.range(position.remaining())
    )


def _sizes(
    names: Sequence[str], batch_size: int | Mapping[str, int]
) -> list[int]:
    sizes = (
        dict(batch_size)
        if isinstance(batch_size, Mapping)
        else dict.fromkeys(names, batch_size)
    )
    if set(sizes) != set(names):
        raise ValueError(
            "`batch_size` must be one integer, or one for each task. "
            f"Received: batch_size={batch_size!r} for {list(names)}"
        )
    for name in names:
        check_integers(batch_size=(sizes[name], 1))
    return [sizes[name] for name in names]
