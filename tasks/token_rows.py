"""Texts to token ids in memory, and rows of these to a batch.

Letters: N rows, B batch, S input tokens, T target tokens.
"""

import concurrent.futures
import dataclasses
import logging
from collections.abc import Sequence

import tensorflow as tf

from keras_prompt.tokenizer import Tokenizer
from keras_prompt.types import Tensor

_LOGGER = logging.getLogger("keras_prompt")
_TEXTS_AT_A_TIME = 1024
_SENTINEL = "<extra_id_"

Batch = tuple[dict[str, Tensor], Tensor, Tensor]


def encode(texts: Sequence[str], tokenizer: Tokenizer) -> tf.RaggedTensor:
    """Token ids of all texts, int32 (N, ragged), without EOS.

    Those of `Tokenizer.encode`: what is tuned on is what is generated from.
    """
    parts = [
        texts[start : start + _TEXTS_AT_A_TIME]
        for start in range(0, len(texts), _TEXTS_AT_A_TIME)
    ]

    def encode_part(part: Sequence[str]) -> tf.RaggedTensor:
        # The operation knows no sentinels, but holds no lock of Python's, so
        # threads share its work.
        if not any(_SENTINEL in text for text in part):
            return tokenizer.encode_tensor(tf.constant(part))
        ids = [tokenizer.encode(text) for text in part]
        return tf.ragged.constant(ids, tf.int32, ragged_rank=1)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        return tf.concat(list(pool.map(encode_part, parts)), axis=0)


def inputs_with_eos(
    inputs: tf.RaggedTensor, input_length: int, eos_id: int, where: str
) -> tf.RaggedTensor:
    """Inputs cut to `input_length` - 1 tokens, then EOS; tells how many.

    As seqio's `append_eos_after_trim`.
    """
    lengths = inputs.row_lengths() + 1
    too_long = int(tf.reduce_sum(tf.cast(lengths > input_length, tf.int64)))
    if too_long:
        _LOGGER.warning(
            "%s: cut %d of %d inputs to %d tokens; the longest has %d.",
            where,
            too_long,
            lengths.shape[0],
            input_length,
            int(tf.reduce_max(lengths)),
        )
    return _with_eos(inputs[:, : input_length - 1], eos_id)


def targets_with_eos(
    targets: tf.RaggedTensor, target_length: int, eos_id: int, where: str
) -> tf.RaggedTensor:
    """Targets with EOS; a cut target would teach a wrong answer.

    Raises:
        ValueError: a target is longer than `target_length`.
    """
    lengths = targets.row_lengths() + 1
    too_long = int(tf.reduce_sum(tf.cast(lengths > target_length, tf.int64)))
    if too_long:
        longest = int(tf.reduce_max(lengths))
        raise ValueError(
            f"`target_length` must hold every target and its EOS. {where}: "
            f"{too_long} of {lengths.shape[0]} targets are longer than "
            f"target_length={target_length}; the longest has {longest} "
            f"tokens. Pass target_length={longest}."
        )
    return _with_eos(targets, eos_id)


def _with_eos(ids: tf.RaggedTensor, eos_id: int) -> tf.RaggedTensor:
    ends = tf.fill([ids.nrows(), 1], tf.constant(eos_id, ids.dtype))
    return tf.concat([ids, ends], axis=1)


@dataclasses.dataclass(frozen=True)
class TokenRows:
    """All rows of a split.

    Attributes:
        inputs: int32 (N, ragged), each ends in EOS.
        targets: int32 (N, ragged), each ends in EOS.
        input_length: S of every batch; None is the batch's longest.
        target_length: T of every batch; None is the batch's longest.
    """

    inputs: tf.RaggedTensor
    targets: tf.RaggedTensor
    input_length: int | None
    target_length: int | None

    def batch(self, rows: Tensor) -> Batch:
        """Padded features of some rows, int64 (B,).

        Returns:
            `(x, y, sample_weight)`, as `make_dataset` describes them.
        """
        size = rows.shape[0]
        inputs = tf.gather(self.inputs, rows).to_tensor(
            0, shape=[size, self.input_length]
        )
        y = tf.gather(self.targets, rows).to_tensor(
            0, shape=[size, self.target_length]
        )
        x = {
            "encoder_token_ids": inputs,
            "encoder_padding_mask": inputs != 0,
            "decoder_token_ids": tf.pad(y, [[0, 0], [1, 0]])[:, :-1],
        }
        return x, y, tf.cast(y != 0, tf.float32)
