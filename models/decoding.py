"""Writes text token by token, with KerasHub's samplers and a cache.

Letters: B batch, S encoder positions (prompt included), T target positions,
L targets of one input.
"""

import functools
import random
from typing import Any

import keras
import tensorflow as tf

from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.forward import DecodingCache
from keras_prompt.registry import lookup
from keras_prompt.types import Tensor

_START_ID = _PAD_ID = 0  # T5 starts its decoder with the padding token
_EOS_ID = 1
_IMPOSSIBLE = -1e9
# Of the targets of one text in one pass: 64 of eight tokens.
_POSITIONS_A_PASS = 512


def generate_token_ids(
    backbone: MeshT5Backbone,
    sampler: Any,
    encoded: Tensor,
    padding_mask: Tensor,
    max_length: int,
) -> Tensor:
    """Decodes encoded inputs until every row has ended.

    Rows do not depend on each other: after its EOS a row continues with
    padding, which costs it no probability, so that beams of unequal length
    compare as they should.

    Args:
        backbone: the model.
        sampler: a `keras_hub.samplers.Sampler`.
        encoded: (B, S, D).
        padding_mask: bool (B, S), True where real.
        max_length: T, the most tokens to write, EOS included.

    Returns:
        int32 (B, T): tokens, EOS, padding.
    """
    encoded, padding_mask = _of_any_size(encoded, padding_mask)
    batch_size = tf.shape(encoded)[0]
    cache = backbone.start_decoding(encoded, padding_mask, max_length)
    # KerasHub's samplers write into a row that begins with what is given.
    tokens = tf.fill([batch_size, max_length + 1], _START_ID)
    is_given = tf.tile((tf.range(max_length + 1) == 0)[None], [batch_size, 1])

    def next_token(
        tokens: Tensor, cache: DecodingCache, index: Tensor
    ) -> tuple[Tensor, None, DecodingCache]:
        previous = tf.gather(tokens, index - 1, axis=1)
        logits, cache = backbone.decode_step(cache, previous, index - 1)
        before = tf.range(tf.shape(tokens)[1]) < index
        has_ended = tf.reduce_any((tokens == _EOS_ID) & before, axis=1)
        return _pad_after_end(logits, has_ended), None, cache

    tokens = sampler(
        next=next_token,
        prompt=tokens,
        cache=cache,
        index=1,
        mask=is_given,
        stop_token_ids=(_EOS_ID,),
    )
    return tf.cast(tokens[:, 1:], tf.int32)


def _of_any_size(encoded: Tensor, padding_mask: Tensor) -> tuple[Tensor, ...]:
    """Forgets a known size beside an unknown one.

    With one size static and the other unknown, beam search loses the static
    one in its while loop, and TensorFlow refuses the changed shape; so both
    are made unknown.
    """
    if None not in encoded.shape[:2]:
        return encoded, padding_mask
    return tuple(
        tf.raw_ops.PlaceholderWithDefault(
            input=x, shape=[None, None, *x.shape[2:]]
        )
        for x in (encoded, padding_mask)
    )


def _pad_after_end(logits: Tensor, has_ended: Tensor) -> Tensor:
    """Leaves padding as the only choice of rows that have ended."""
    is_padding = tf.range(tf.shape(logits)[-1]) == _PAD_ID
    padding_only = tf.where(is_padding, 0.0, _IMPOSSIBLE)
    return tf.where(has_ended[:, None], padding_only[None], logits)


def get_sampler(sampler: Any) -> Any:
    """A KerasHub sampler by its name ("greedy", "beam", …), or itself.

    One by name that draws begins with a seed from Python's `random`, each
    time that it is asked for.

    Raises:
        ValueError: there is no sampler of that name, it is none at all, or
            one that gives more than one output.
    """
    if isinstance(sampler, str):
        named = _named_sampler(sampler)
        if hasattr(named, "seed_generator"):
            # Python's generator is one that `set_random_seed` sets.
            named.seed_generator.state.assign([random.randrange(2**31), 0])
        return named
    import keras_hub

    if not isinstance(sampler, keras_hub.samplers.Sampler):
        raise ValueError(
            "`sampler` must be a sampler's name or a keras_hub.samplers."
            f"Sampler. Received: sampler={sampler!r}"
        )
    if isinstance(sampler, keras_hub.samplers.ContrastiveSampler):
        raise ValueError(
            "`sampler` must need logits alone; a ContrastiveSampler compares "
            "hidden states, which no decoding here keeps."
        )
    if getattr(sampler, "return_all_beams", False):
        raise ValueError(
            "`sampler` must give one output a text. "
            "Received: a sampler with return_all_beams=True"
        )
    return sampler


@functools.cache  # one object a name, or each call would be traced anew
def _named_sampler(name: str) -> Any:
    import keras_hub  # it takes seconds to import

    known = {
        "greedy": keras_hub.samplers.GreedySampler,
        "beam": keras_hub.samplers.BeamSampler,
        # Without a seed they would take one from Python's generator here.
        "top_k": functools.partial(keras_hub.samplers.TopKSampler, seed=0),
        "top_p": functools.partial(keras_hub.samplers.TopPSampler, seed=0),
        "random": functools.partial(keras_hub.samplers.RandomSampler, seed=0),
    }
    return lookup("sampler", name, known)()


def targets_a_pass(length: int | Tensor) -> Tensor:
    """How many targets of a text to score at once.

    They stand behind one another in the decoder, whose self-attention grows
    with the square of their positions.

    Args:
        length: tokens of the longest target, T.
    """
    return tf.maximum(1, _POSITIONS_A_PASS // tf.maximum(1, length))


def score_targets(
    backbone: MeshT5Backbone,
    encoded: Tensor,
    padding_mask: Tensor,
    targets: Tensor,
) -> Tensor:
    """The log-likelihood of several targets for each encoded input.

    Args:
        backbone: the model.
        encoded: (B, S, D).
        padding_mask: bool (B, S), True where real.
        targets: int (B, L, T), padded with 0.

    Returns:
        float32 (B, L), summed over tokens.
    """
    rows, labels, length = tf.unstack(tf.shape(targets))
    flat = tf.reshape(targets, [-1, length])
    # One pass for all targets of an input, whose keys and values are then
    # projected once.
    logits = backbone.decode(
        encoded,
        padding_mask,
        tf.reshape(shift_right(flat), [rows, labels * length]),
        labels,
    )
    logits = tf.reshape(logits, [rows * labels, length, logits.shape[-1]])
    return tf.reshape(log_likelihood(logits, flat), [rows, labels])


def score_in_passes(
    backbone: MeshT5Backbone,
    encoded: Tensor,
    padding_mask: Tensor,
    targets: Tensor,
) -> Tensor:
    """`score_targets` of any number of targets, `targets_a_pass` at a time.

    For a graph that does not know how many there will be.
    """
    _, count, length = tf.unstack(tf.shape(targets))
    at_once = targets_a_pass(length)
    passes = tf.maximum(1, -(-count // at_once))
    found = tf.TensorArray(
        tf.float32, passes, infer_shape=False, element_shape=[None, None]
    )

    def score_some(number: Tensor, found: Any) -> tuple[Tensor, Any]:
        some = targets[:, number * at_once : (number + 1) * at_once]
        scores = score_targets(backbone, encoded, padding_mask, some)
        return number + 1, found.write(number, tf.transpose(scores))

    _, found = tf.while_loop(
        lambda number, _: number < passes,
        score_some,
        (tf.constant(0), found),
        parallel_iterations=1,
    )
    return tf.transpose(found.concat())


def log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    """Summed log probability of targets, padding left out.

    Args:
        logits: float32 (B, T, V).
        targets: int (B, T), padded with 0.

    Returns:
        float32 (B,).
    """
    token_losses = keras.ops.sparse_categorical_crossentropy(
        targets, logits, from_logits=True
    )
    is_target = tf.cast(targets != _PAD_ID, tf.float32)
    return -tf.reduce_sum(token_losses * is_target, axis=-1)


def shift_right(targets: Tensor) -> Tensor:
    """What the decoder reads to write `targets`: the start id before them."""
    return tf.pad(targets[:, :-1], [[0, 0], [1, 0]], constant_values=_START_ID)
