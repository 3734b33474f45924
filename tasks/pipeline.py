"""A task's rows to batches of token ids that a model takes.

Letters: B batch, S input tokens, T target tokens.
"""

import hashlib
from collections.abc import Sequence

import tensorflow as tf

from keras_prompt.arguments import check_integers
from keras_prompt.tasks.batch_order import BatchOrder, Position
from keras_prompt.tasks.label_words import check_labels
from keras_prompt.tasks.task import SENTINEL, Task, is_train
from keras_prompt.tasks.token_rows import (
    TokenRows,
    encode,
    inputs_with_eos,
    targets_with_eos,
)
from keras_prompt.tokenizer import Tokenizer


def make_dataset(
    task: Task,
    split: str,
    tokenizer: Tokenizer,
    *,
    input_length: int = 512,
    target_length: int = 8,
    batch_size: int = 32,
    shuffle: bool | None = None,
    seed: int = 0,
    static_shapes: bool = False,
    length_buckets: bool = True,
    drop_remainder: bool = False,
    repeat: bool = False,
) -> tf.data.Dataset:
    """Batches of a split, for `model.fit`, `evaluate` and `predict`.

    For the example {"inputs": "is it wet", "targets": "True"} with the ids
    is=9 it=5 wet=7 True=8, pad=0 and EOS=1, in a batch where S = 5, T = 3:

        x = {"encoder_token_ids":    [[9, 5, 7, 1, 0]],
             "encoder_padding_mask": [[True, True, True, True, False]],
             "decoder_token_ids":    [[0, 8, 1]]}
        y             = [[8, 1, 0]]
        sample_weight = [[1, 1, 0]]

    Batch g of the endless stream depends on (`seed`, g) alone: every epoch is
    a permutation of all rows, which its number and the seed give. The tokens
    are kept in memory, so a dataset starts anywhere at once: an iterator
    starts at the batch g in `dataset.position.batch` and gives the rest of
    its epoch. `PromptTunedT5.fit` moves the position on after each epoch, and
    to the next one's start where it ends within one; in a loop of your own, do
    so or every epoch has the first one's order. `map`, `prefetch` and the like
    leave the position behind, of which `fit` warns; where one batch stays one,
    hand it on: `mapped.position = made.position`.

    Args:
        task: whose examples to take.
        split: e.g. "train".
        tokenizer: the model's.
        input_length: the most tokens of an input, EOS included. Longer ones
            are cut, EOS kept, and a warning tells how many.
        target_length: the most tokens of a target, EOS included.
        batch_size: B. The last batch of an epoch may be smaller.
        shuffle: None is True for "train" and False for others.
        seed: of the order, at least 0.
        static_shapes: pad to S = `input_length`, T = `target_length` instead
            of to the longest of the batch. For XLA and TPUs, with
            `drop_remainder` where B must be static too.
        length_buckets: when shuffling, put rows of similar length together:
            100 batches at a time are sorted by length, then the batches of
            the epoch are shuffled. Without `shuffle` rows keep their order.
        drop_remainder: leave out, in each epoch, the rows that would make a
            smaller batch: random ones when shuffling, else the last.
        repeat: whether to go on after an epoch, for ever; a `fit` then begins
            where the one before it ended.

    Returns:
        A dataset of `(x, y, sample_weight)` with a `position` attribute. x
        holds int32 `encoder_token_ids` (B, S), bool `encoder_padding_mask`
        (B, S) and int32 `decoder_token_ids` (B, T); y is int32 (B, T);
        sample_weight float32 (B, T).

    Raises:
        ValueError: an argument out of its range, a split without labels, a
            target that is none of a closed task's labels, two labels of the
            same token ids, a target longer than `target_length`, or fewer
            rows than a batch with `drop_remainder`.
        FileNotFoundError: the task's data are not there and cannot be
            downloaded.
    """
    check_integers(
        input_length=(input_length, 2),
        target_length=(target_length, 2),
        batch_size=(batch_size, 1),
        seed=(seed, 0),
    )
    # Token ids live where tf.data runs, also on a machine with accelerators.
    with tf.device("CPU:0"):
        rows = token_rows(
            task,
            split,
            tokenizer,
            input_length,
            target_length,
            static_shapes=static_shapes,
        )
        order = BatchOrder(
            lengths=rows.inputs.row_lengths(),
            batch_size=batch_size,
            seed=seed,
            shuffle=is_train(split) if shuffle is None else shuffle,
            length_buckets=length_buckets,
            drop_remainder=drop_remainder,
        )
        check_not_empty(task, split, order, "drop_remainder")
        position = Position(
            order.batches_per_epoch,
            data_fingerprint([rows], [order]),
            is_endless=repeat,
        )
        batches = order.dataset(position, repeat=repeat).map(
            rows.batch, num_parallel_calls=2, deterministic=True
        )
        return with_position(batches, position)


def token_rows(
    task: Task,
    split: str,
    tokenizer: Tokenizer,
    input_length: int,
    target_length: int,
    *,
    static_shapes: bool,
) -> TokenRows:
    """A split's rows as token ids; see `make_dataset`."""
    examples = task.examples(split, to_train=is_train(split))
    task.check_targets(examples, f"split '{split}'")
    check_labels(task, tokenizer)
    where, eos_id = f"{task.name}, split '{split}'", tokenizer.eos_id
    inputs = encode([row["inputs"] for row in examples], tokenizer)
    targets = encode([row["targets"] for row in examples], tokenizer)
    if task.has_sentinel:
        first = tf.fill([len(examples), 1], tokenizer.encode(SENTINEL)[0])
        targets = tf.concat([first, targets], axis=1)
    return TokenRows(
        inputs=inputs_with_eos(inputs, input_length, eos_id, where),
        targets=targets_with_eos(targets, target_length, eos_id, where),
        input_length=input_length if static_shapes else None,
        target_length=target_length if static_shapes else None,
    )


def data_fingerprint(
    parts: Sequence[TokenRows], orders: Sequence[BatchOrder]
) -> str:
    """16 digits that differ where the rows or their order do.

    A run that is resumed on other data would be neither the one run nor the
    other.

    Args:
        parts: the rows of each task.
        orders: in which they come.
    """
    digest = hashlib.sha256()
    for rows, order in zip(parts, orders, strict=True):
        for ids in (rows.inputs, rows.targets):
            digest.update(ids.row_lengths().numpy().tobytes())
            digest.update(ids.flat_values.numpy().tobytes())
        digest.update(repr(order.settings).encode())
    return digest.hexdigest()[:16]


def with_position(
    batches: tf.data.Dataset, position: Position
) -> tf.data.Dataset:
    """Batches that start at a position, with the position as attribute."""
    dataset = batches.prefetch(tf.data.AUTOTUNE)
    if position.is_endless:
        endless = tf.data.experimental.INFINITE_CARDINALITY
        dataset = dataset.apply(
            tf.data.experimental.assert_cardinality(endless)
        )
    else:
        # How many batches are left depends on a variable, so tf.data cannot
        # know. Keras asks once, before the first epoch of a `fit`.
        dataset.cardinality = position.remaining
    dataset.position = position
    return dataset


def check_not_empty(
    task: Task, split: str, order: BatchOrder, argument: str
) -> None:
    """Refuses an argument that leaves out all rows there are."""
    if not order.batches_per_epoch:
        raise ValueError(
            f"Split '{split}' of task '{task.name}' has "
            f"{order.lengths.shape[0]} rows, not one batch of "
            f"{order.batch_size}: `{argument}` leaves nothing."
        )
