"""A base's vocabulary inside the served graph: text to ids, and ids to text.

Its ops are TensorFlow Text's, so what loads such a graph must have them.

Letters: B rows, S tokens, T output tokens, N runs and sentinels of all rows.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_prompt.tokenizer import Tokenizer
from keras_prompt.types import Tensor

_SENTINEL = "<extra_id_([0-9]{1,2})>"
_MARK = b"\xff"  # in no UTF-8 text


class TextRows(NamedTuple):
    """Token ids of texts.

    Attributes:
        token_ids: int32 (B, S), EOS after each row's tokens.
        lengths: int32 (B,), EOS included; 0 for a text without tokens.
        is_text: bool (B,), False where the bytes are no UTF-8.
    """

    token_ids: Tensor
    lengths: Tensor
    is_text: Tensor


class GraphText(tf.Module):
    """`Tokenizer.encode` and `decode` as ops, to the same ids and texts.

    Args:
        tokenizer: whose SentencePiece model becomes part of the graph.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._processor = tokenizer.graph_processor
        self._tokenizer = tokenizer

    def rows(self, texts: Tensor) -> TextRows:
        """Token ids of texts, string (B,)."""
        with tf.device("CPU:0"):  # strings live there
            is_text = tf.equal(
                texts,
                tf.strings.unicode_transcode(
                    texts, "UTF-8", "UTF-8", errors="ignore"
                ),
            )
            ids = self._encode(tf.where(is_text, texts, ""))
            lengths = tf.cast(ids.row_lengths(), tf.int32)
            eos = tf.fill([tf.size(lengths), 1], self._tokenizer.eos_id)
            return TextRows(
                token_ids=tf.concat([ids, eos], axis=1).to_tensor(0),
                lengths=tf.where(lengths > 0, lengths + 1, 0),
                is_text=is_text,
            )

    def _encode(self, texts: Tensor) -> tf.RaggedTensor:
        """int32 (B, ragged), without EOS; sentinels are understood."""
        marked = tf.strings.regex_replace(
            texts, _SENTINEL, _MARK + rb"\0" + _MARK
        )
        parts = tf.strings.split(marked, _MARK)  # (B, ragged)
        part = parts.flat_values  # (N,)
        is_sentinel = tf.strings.regex_full_match(part, _SENTINEL)
        digits = tf.strings.regex_replace(part, _SENTINEL, r"\1")
        number = tf.strings.to_number(
            tf.where(is_sentinel, digits, "0"), tf.int32
        )
        sentinel = tf.ragged.boolean_mask(
            (self._tokenizer.vocabulary_size - 1 - number)[:, None],
            is_sentinel[:, None],
        )
        run = self._processor.tokenize(tf.where(is_sentinel, "", part))
        ids = tf.concat([sentinel, run], axis=1)  # (N, ragged)
        return parts.with_flat_values(ids).merge_dims(1, 2)

    def decode(self, output_ids: Tensor) -> Tensor:
        """Texts, string (B,), of int32 (B, T) up to the first EOS."""
        vocabulary = self._tokenizer
        with tf.device("CPU:0"):
            size, width = tf.unstack(tf.shape(output_ids))
            is_eos = tf.cast(output_ids == vocabulary.eos_id, tf.int32)
            is_token = tf.equal(tf.cumsum(is_eos, axis=1), 0)
            is_special = is_token & (output_ids >= vocabulary.piece_count)
            is_piece = (
                is_token & ~is_special & (output_ids != vocabulary.pad_id)
            )
            # Each row is a run of pieces, a special id, a run, and so on.
            place = tf.cumsum(tf.cast(is_special, tf.int32), axis=1)
            row = tf.range(size)[:, None] * (width + 1)
            runs = tf.RaggedTensor.from_value_rowids(
                tf.boolean_mask(output_ids, is_piece),
                tf.boolean_mask(row + place, is_piece),
                nrows=size * (width + 1),
            )
            texts = tf.reshape(
                self._processor.detokenize(runs), [size, width + 1]
            )
            special = tf.ragged.boolean_mask(output_ids, is_special)
            names = special.with_flat_values(self._names(special.flat_values))
            names = names.to_tensor("", shape=[None, None])
            names = tf.pad(
                names,
                [[0, 0], [0, width + 1 - tf.shape(names)[1]]],
                constant_values="",
            )
            parts = tf.reshape(
                tf.stack([texts, names], axis=2), [size, 2 * (width + 1)]
            )
            parts = tf.ragged.boolean_mask(parts, parts != "")
            return tf.strings.reduce_join(parts, axis=1, separator=" ")

    def _names(self, ids: Tensor) -> Tensor:
        """What `Tokenizer.piece` says of ids that are no pieces."""
        size = self._tokenizer.vocabulary_size
        return tf.where(
            ids < size,
            tf.strings.join(
                ["<extra_id_", tf.strings.as_string(size - 1 - ids), ">"]
            ),
            tf.strings.join(["<unused_", tf.strings.as_string(ids), ">"]),
        )
