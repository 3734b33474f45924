"""Which rows make up batch g of an endless stream of epochs.

Letters: N rows, B batch size, G batches of an epoch.
"""

import dataclasses

import tensorflow as tf

from keras_prompt.types import Tensor

_WINDOW = 100  # batches that are sorted by length together


class Position:
    """Where the next iterator over a dataset starts.

    Attributes:
        batch: int64 variable, a batch's number since the start of the first
            epoch; read whenever an iterator is made, changed by none.
        batches_per_epoch: G.
        fingerprint: equal for equal rows in equal order.
        is_endless: whether an iterator goes on after its epoch.
    """

    def __init__(
        self, batches_per_epoch: int, fingerprint: str, *, is_endless: bool
    ) -> None:
        self.batches_per_epoch = batches_per_epoch
        self.fingerprint = fingerprint
        self.is_endless = is_endless
        self.batch = tf.Variable(
            0, dtype=tf.int64, trainable=False, name="dataset_position"
        )

    def remaining(self) -> Tensor:
        """Batches from `batch` to the end of its epoch, int64 scalar."""
        return self.batches_per_epoch - self.batch % self.batches_per_epoch

    def at_start(self) -> tf.data.Dataset:
        """One int64 scalar: `batch` when the iterator is made."""
        return tf.data.Dataset.from_tensors(0).map(
            lambda _: self.batch.read_value()
        )


@dataclasses.dataclass(frozen=True)
class BatchOrder:
    """Every epoch's rows, as a function of the seed and the epoch alone.

    Attributes:
        lengths: int64 (N,), tokens of each input.
        batch_size: B.
        seed: of all permutations.
        shuffle: whether each epoch is another permutation of the rows.
        length_buckets: when shuffling, whether a batch has rows of similar
            length.
        drop_remainder: whether to leave N % B rows out.
    """

    lengths: Tensor
    batch_size: int
    seed: int
    shuffle: bool
    length_buckets: bool
    drop_remainder: bool

    @property
    def batches_per_epoch(self) -> int:
        """G."""
        rows = int(self.lengths.shape[0])
        if self.drop_remainder:
            return rows // self.batch_size
        return -(-rows // self.batch_size)

    @property
    def settings(self) -> tuple[int | bool, ...]:
        """What the order depends on besides the lengths."""
        return (
            int(self.batch_size),
            int(self.seed),
            self.shuffle,
            self.length_buckets,
            self.drop_remainder,
        )

    def epoch(self, number: Tensor) -> Tensor:
        """The rows of each batch, int64 (G, B); -1 fills a smaller batch.

        Args:
            number: int64 scalar, the epoch's.
        """
        batches, size = self.batches_per_epoch, self.batch_size
        rows = tf.range(tf.size(self.lengths, tf.int64))
        if self.shuffle:
            rows = self._permutation(rows, number, salt=0)
        # Cut before sorting, or a dropped remainder would be the longest.
        rows = rows[: batches * size]
        is_bucketed = self.shuffle and self.length_buckets
        if is_bucketed:
            rows = self._sorted_in_windows(rows)
        rows = tf.pad(
            rows, [[0, batches * size - tf.size(rows)]], constant_values=-1
        )
        plan = tf.reshape(rows, [batches, size])
        if is_bucketed:
            plan = self._permutation(plan, number, salt=1)
        return plan

    def _permutation(self, values: Tensor, number: Tensor, salt: int) -> Tensor:
        return tf.random.experimental.stateless_shuffle(
            values,
            seed=tf.stack(
                [tf.constant(self.seed, tf.int64), number * 2 + salt]
            ),
            alg="philox",  # the same on every kind of machine
        )

    def _sorted_in_windows(self, rows: Tensor) -> Tensor:
        place = tf.range(tf.size(rows, tf.int64))
        window = place // (_WINDOW * self.batch_size)
        longest = tf.reduce_max(self.lengths)
        key = window * (longest + 1) + tf.gather(self.lengths, rows)
        return tf.gather(rows, tf.argsort(key, stable=True))

    def dataset(self, position: Position, *, repeat: bool) -> tf.data.Dataset:
        """The rows of one batch after the other, int64 (B,) or shorter.

        Args:
            position: where to start.
            repeat: whether to go on after the epoch.
        """

        def from_batch(start: Tensor) -> tf.data.Dataset:
            first = start // self.batches_per_epoch
            done = start % self.batches_per_epoch

            def rest_of_epoch(number: Tensor) -> tf.data.Dataset:
                skipped = tf.where(number == first, done, 0)
                plan = self.epoch(number)
                return tf.data.Dataset.from_tensor_slices(plan).skip(skipped)

            epochs = tf.data.Dataset.counter(first)
            if not repeat:
                epochs = epochs.take(1)
            return epochs.flat_map(rest_of_epoch)

        batches = position.at_start().flat_map(from_batch)
        if self.drop_remainder:
            return batches  # no fill, and B is known
        return batches.map(lambda rows: tf.boolean_mask(rows, rows >= 0))
