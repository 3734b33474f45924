"""The passes through a T5, each one Mesh TensorFlow graph.

TensorFlow tensors of the caller's trace come in and go out. Letters: B batch,
S encoder positions (prompt included), T target positions, D d_model,
V vocabulary, H heads, K d_kv.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_prompt.models.mesh import MeshTensor
from keras_prompt.models.mesh.operations import EmbeddingLookup, slicewise
from keras_prompt.models.t5 import masks, stack
from keras_prompt.models.t5.attention import KeysValues, relative_position_bias
from keras_prompt.models.t5.int8 import scale_name
from keras_prompt.models.t5.scope import Scope
from keras_prompt.models.t5.variables import TABLE
from keras_prompt.types import Tensor

_ACTIVATIONS = ("batch", "length", "d_model")
_PROJECTED = ("batch", "memory_length", "heads", "d_kv")


class Segments(NamedTuple):
    """Numbers, from 1, of the examples packed into a row; 0 is padding.

    Attributes:
        encoder: int32 (B, S).
        decoder: int32 (B, T).
    """

    encoder: Tensor
    decoder: Tensor


class DecodingCache(NamedTuple):
    """What greedy or beam decoding keeps between tokens.

    Attributes:
        past: per decoder block, keys and values (B, T, H, K) of the targets
            so far, zeros where none are yet.
        encoded: per decoder block, keys and values (B, S, H, K).
        encoded_bias: float32 (B, 1, S).
    """

    past: tuple[tuple[Tensor, Tensor], ...]
    encoded: tuple[tuple[Tensor, Tensor], ...]
    encoded_bias: Tensor


def embed(scope: Scope, token_ids: Tensor, dtype: tf.DType) -> Tensor:
    """Looks tokens up in a table that is cut across devices.

    Args:
        scope: the graph under construction.
        token_ids: int (B, S).
        dtype: of the table, unless it is quantised, and of the result.

    Returns:
        (B, S, D).
    """
    ids = scope.import_tensor(tf.cast(token_ids, tf.int32), _ACTIVATIONS[:2])
    table = scope.weight(TABLE, dtype)
    found = EmbeddingLookup(table, ids, dtype).outputs[0]
    if table.dtype == tf.int8:
        scale = scope.weight(scale_name(TABLE), dtype)
        found *= EmbeddingLookup(scale, ids, dtype).outputs[0]
    return scope.lower({"embedded": found})["embedded"]


def encode(scope: Scope, embedded: Tensor, padding_mask: Tensor) -> Tensor:
    """Runs the encoder alone: (B, S, D), bool (B, S) to (B, S, D)."""
    encoded = _encoder(scope, embedded, masks.padding_mask_bias(padding_mask))
    return scope.lower({"encoded": encoded})["encoded"]


def decode(
    scope: Scope,
    encoded: Tensor,
    padding_mask: Tensor,
    targets: Tensor,
    target_count: int | Tensor = 1,
) -> Tensor:
    """Runs the decoder over all targets of an encoded input.

    Args:
        scope: the graph under construction.
        encoded: (B, S, D), from `encode`.
        padding_mask: bool (B, S), True where real.
        targets: (B, T, D), embedded decoder input: one target or, end to
            end, several of equal length, which do not see each other.
        target_count: how many; none need 0 positions.

    Returns:
        float32 (B, T, V).
    """
    # A server divides also where a request has no targets.
    length = tf.shape(targets)[1] // tf.maximum(target_count, 1)
    positions = tf.range(tf.shape(targets)[1])
    number = (positions // length)[None] + 1
    self_bias = masks.segment_bias(number, number)
    positions %= length
    logits = _decoder(
        scope,
        scope.import_tensor(encoded, _ACTIVATIONS),
        targets,
        masks.padding_mask_bias(padding_mask),
        self_bias + masks.causal_bias(positions, positions),
        positions,
    )
    return scope.lower({"logits": logits})["logits"]


def encode_and_decode(
    scope: Scope,
    embedded: Tensor,
    padding_mask: Tensor,
    targets: Tensor,
    segments: Segments | None = None,
) -> Tensor:
    """The whole pass in one graph; the encoder's output never leaves it.

    Args:
        scope: the graph under construction.
        embedded: (B, S, D).
        padding_mask: bool (B, S), True where real.
        targets: (B, T, D), embedded decoder input.
        segments: of packed examples, which then do not see each other.

    Returns:
        float32 (B, T, V).
    """
    positions = tf.range(tf.shape(targets)[1])
    self_bias = masks.causal_bias(positions, positions)
    if segments is None:
        encoder_bias = encoded_bias = masks.padding_mask_bias(padding_mask)
    else:
        encoder, decoder = segments
        encoder_bias = masks.segment_bias(encoder, encoder)
        encoded_bias = masks.segment_bias(decoder, encoder)
        self_bias += masks.segment_bias(decoder, decoder)
    encoded = _encoder(scope, embedded, encoder_bias)
    logits = _decoder(
        scope, encoded, targets, encoded_bias, self_bias, positions
    )
    return scope.lower({"logits": logits})["logits"]


def start_decoding(
    scope: Scope, encoded: Tensor, padding_mask: Tensor, max_length: int
) -> DecodingCache:
    """The cache before the first token, its room `max_length` tokens."""
    projected = stack.project_encoded(
        scope, scope.import_tensor(encoded, _ACTIVATIONS)
    )
    lowered = scope.lower(_named(projected))
    heads, d_kv = scope.config.num_heads, scope.config.d_kv
    empty = tf.zeros(
        [tf.shape(encoded)[0], max_length, heads, d_kv], encoded.dtype
    )
    blocks = range(scope.config.num_decoder_layers)
    return DecodingCache(
        past=tuple((empty, empty) for _ in blocks),
        encoded=_unnamed(lowered, len(blocks)),
        encoded_bias=masks.padding_mask_bias(padding_mask),
    )


def decode_step(
    scope: Scope, cache: DecodingCache, target: Tensor, position: Tensor
) -> tuple[Tensor, DecodingCache]:
    """Runs the decoder over one more token.

    Args:
        scope: the graph under construction.
        cache: after the tokens before `position`.
        target: (B, 1, D), the embedded token at `position`.
        position: int32 scalar, from 0.

    Returns:
        float32 (B, V), and the cache with this token in it.
    """
    past_positions = tf.range(tf.shape(cache.past[0][0])[1])
    written: list[KeysValues] = []

    def remember(block: int, present: KeysValues) -> KeysValues:
        past = _import_pair(scope, cache.past[block])
        at = tf.equal(past_positions, position)[None, :, None, None]
        kept = [
            slicewise(
                lambda old, new: tf.where(at, new, old),
                pair,
                pair[0].shape.dims,
                splittable=["batch", "heads"],
            )
            for pair in zip(past, present, strict=True)
        ]
        written.append(KeysValues(*kept))
        return written[-1]

    here = position[None]
    decoded = stack.decoder(
        scope,
        scope.import_tensor(target, _ACTIVATIONS),
        [_import_pair(scope, pair) for pair in cache.encoded],
        scope.import_bias(cache.encoded_bias),
        scope.import_bias(masks.causal_bias(here, past_positions)),
        relative_position_bias(scope, "decoder", here, past_positions),
        remember,
    )
    outputs = _named(written)
    outputs["logits"] = stack.vocabulary_logits(scope, decoded)
    lowered = scope.lower(outputs)
    cache = cache._replace(past=_unnamed(lowered, len(written)))
    return lowered["logits"][:, 0], cache


def _encoder(scope: Scope, embedded: Tensor, mask_bias: Tensor) -> MeshTensor:
    positions = tf.range(tf.shape(embedded)[1])
    return stack.encoder(
        scope,
        scope.import_tensor(embedded, _ACTIVATIONS),
        scope.import_bias(mask_bias),
        relative_position_bias(scope, "encoder", positions, positions),
    )


def _decoder(
    scope: Scope,
    encoded: MeshTensor,
    targets: Tensor,
    encoded_bias: Tensor,
    self_bias: Tensor,
    positions: Tensor,
) -> MeshTensor:
    """The decoder over all targets, to the logits."""
    decoded = stack.decoder(
        scope,
        scope.import_tensor(targets, _ACTIVATIONS),
        stack.project_encoded(scope, encoded),
        scope.import_bias(encoded_bias),
        scope.import_bias(self_bias),
        relative_position_bias(scope, "decoder", positions, positions),
    )
    return stack.vocabulary_logits(scope, decoded)


def _import_pair(scope: Scope, pair: tuple[Tensor, Tensor]) -> KeysValues:
    return KeysValues(*(scope.import_tensor(x, _PROJECTED) for x in pair))


def _named(blocks: list[KeysValues]) -> dict[str, MeshTensor]:
    return {
        f"{block}/{name}": tensor
        for block, pair in enumerate(blocks)
        for name, tensor in pair._asdict().items()
    }


def _unnamed(
    lowered: dict[str, Tensor], block_count: int
) -> tuple[tuple[Tensor, Tensor], ...]:
    return tuple(
        (lowered[f"{block}/keys"], lowered[f"{block}/values"])
        for block in range(block_count)
    )
