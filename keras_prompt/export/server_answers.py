"""What a server's signatures compute once each row has its prompt.

Every row has a status, "ok" or what is wrong with it; the answer of a row
that is not ok is zeros. No row fails the others of its batch.

Letters: B rows, T output or target tokens, L targets of a row.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_prompt.export.request_prompts import OK, RowPrompts
from keras_prompt.export.server_card import ServerCard
from keras_prompt.layers.prompt_bank import prepend
from keras_prompt.models import decoding
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.types import Tensor


class _Inputs(NamedTuple):
    """Embedded inputs behind their prompts, and a status for each row."""

    embedded: Tensor
    padding_mask: Tensor
    status: Tensor


class Answers:
    """Generates and scores behind prompts that may be none.

    Args:
        backbone: the frozen T5.
        card: its limits.
    """

    def __init__(self, backbone: MeshT5Backbone, card: ServerCard) -> None:
        self._backbone = backbone
        self.card = card

    def generate(
        self, prompts: RowPrompts, token_ids: Tensor, token_lengths: Tensor
    ) -> dict[str, Tensor]:
        """Greedy decoding with a cache, int32 (B, T)."""
        inputs = self._inputs(prompts, token_ids, token_lengths)
        backbone = self._backbone
        encoded = backbone.encode(inputs.embedded, inputs.padding_mask)
        output_ids = decoding.generate_token_ids(
            backbone,
            decoding.get_sampler("greedy"),
            encoded,
            inputs.padding_mask,
            self.card.max_length,
        )
        is_ok = tf.equal(inputs.status, OK)
        return {
            "output_ids": tf.where(is_ok[:, None], output_ids, 0),
            "status": inputs.status,
        }

    def score(
        self,
        prompts: RowPrompts,
        token_ids: Tensor,
        token_lengths: Tensor,
        target_ids: Tensor,
        target_lengths: Tensor,
    ) -> dict[str, Tensor]:
        """Log-likelihoods of (B, L, T) targets, float32 (B, L)."""
        target_ids = tf.ensure_shape(target_ids, [None, None, None])
        target_lengths = tf.ensure_shape(target_lengths, [None, None])
        longest = tf.shape(target_ids)[2]
        # Targets without a single token are a status, not an empty array.
        missing = tf.maximum(1 - longest, 0)
        target_ids = tf.pad(target_ids, [[0, 0], [0, 0], [0, missing]])
        limit = self.card.input_length  # as in `_inputs`
        target_ids = target_ids[:, :, :limit]
        is_target = (
            tf.range(tf.shape(target_ids)[2]) < target_lengths[:, :, None]
        )
        is_id = self._is_id(target_ids)
        is_bad_id = tf.reduce_any(is_target & ~is_id, axis=[1, 2])
        inputs = self._inputs(prompts, token_ids, token_lengths)
        status = first_problem(
            inputs.status,
            (tf.reduce_any(target_lengths < 1, axis=1), "empty target"),
            (
                tf.reduce_any(target_lengths > longest, axis=1),
                "target_lengths exceeds the target's tokens",
            ),
            (
                tf.reduce_any(target_lengths > limit, axis=1),
                f"target longer than {limit} tokens",
            ),
            (is_bad_id, "a target id is outside the vocabulary"),
            # Scoring takes them for the end: such a target would win.
            (
                tf.reduce_any(is_target & (target_ids == 0), axis=[1, 2]),
                "a target id is padding",
            ),
        )
        encoded = self._backbone.encode(inputs.embedded, inputs.padding_mask)
        scores = decoding.score_in_passes(
            self._backbone,
            encoded,
            inputs.padding_mask,
            tf.where(is_id & is_target, target_ids, 0),
        )
        is_ok = tf.equal(status, OK)
        return {
            "scores": tf.where(is_ok[:, None], scores, 0.0),
            "status": status,
        }

    def _inputs(
        self, prompts: RowPrompts, token_ids: Tensor, token_lengths: Tensor
    ) -> _Inputs:
        # A server does not compare ranks with the signature's.
        token_ids = tf.ensure_shape(token_ids, [None, None])
        token_lengths = tf.ensure_shape(token_lengths, [None])
        size = tf.shape(token_ids)[1]
        limit = self.card.input_length
        # A row that is too long must not cost its neighbours time and memory.
        token_ids = token_ids[:, :limit]
        mask = tf.range(tf.shape(token_ids)[1]) < token_lengths[:, None]
        is_id = self._is_id(token_ids)
        status = first_problem(
            prompts.status,
            (token_lengths < 1, "empty input"),
            (token_lengths > size, "token_lengths exceeds the row's tokens"),
            (token_lengths > limit, f"input longer than {limit} tokens"),
            (
                tf.reduce_any(mask & ~is_id, axis=1),
                "a token id is outside the vocabulary",
            ),
        )
        embedded = self._backbone.embed(tf.where(is_id, token_ids, 0))
        embedded, padding_mask = prepend(
            tf.cast(prompts.vectors, embedded.dtype),
            prompts.lengths,
            embedded,
            mask,
        )
        return _Inputs(embedded, padding_mask, status)

    def _is_id(self, ids: Tensor) -> Tensor:
        return (ids >= 0) & (ids < self.card.vocab_size)


def sent_prompts(
    prompt: Tensor, prompt_lengths: Tensor, d_model: int
) -> RowPrompts:
    """Prompts that came with the request."""
    prompt = tf.ensure_shape(prompt, [None, None, d_model])
    prompt_lengths = tf.ensure_shape(prompt_lengths, [None])
    longest = tf.shape(prompt)[1]
    lengths = tf.clip_by_value(prompt_lengths, 0, longest)
    is_finite = tf.reduce_all(tf.math.is_finite(prompt), axis=[1, 2])
    status = first_problem(
        tf.fill(tf.shape(prompt_lengths), OK),
        (prompt_lengths < 1, "empty prompt"),
        (prompt_lengths > longest, "prompt_lengths exceeds the row's vectors"),
        (~is_finite, "the prompt has numbers that are not finite"),
    )
    prompt = tf.where(is_finite[:, None, None], prompt, 0.0)
    return RowPrompts(prompt, lengths, status)


def first_problem(status: Tensor, *checks: tuple[Tensor, str]) -> Tensor:
    """A status (B,) that is ok gets the words of the first check it fails."""
    for is_wrong, words in checks:
        status = tf.where(is_wrong & (status == OK), words, status)
    return status
