"""Multi-head attention: projections in Mesh TensorFlow, the core slice-wise.

Letters: L queries, M memory positions.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_prompt.models.mesh import MeshTensor
from keras_prompt.models.mesh.operations import rename_dimension, slicewise
from keras_prompt.models.t5.attention_core import attend
from keras_prompt.models.t5.relative_position import relative_position_bucket
from keras_prompt.models.t5.scope import Scope
from keras_prompt.types import Tensor


class KeysValues(NamedTuple):
    """What queries look at, each (batch, memory_length, heads, d_kv)."""

    keys: MeshTensor
    values: MeshTensor


def project_memory(scope: Scope, memory: MeshTensor, name: str) -> KeysValues:
    """Keys and values of (batch, length, d_model), to be looked at."""
    memory = rename_dimension(memory, "length", "memory_length")
    return KeysValues(*(scope.project(memory, f"{name}/{n}") for n in "kv"))


def attention(
    scope: Scope,
    x: MeshTensor,
    memory: KeysValues,
    name: str,
    mask_bias: MeshTensor,
    position_bias: MeshTensor | None = None,
) -> MeshTensor:
    """Lets every position of `x` look at the memory.

    T5 does not divide its logits by the root of d_kv; its initial weights
    account for that.

    Args:
        scope: the graph under construction.
        x: (batch, length, d_model), normalised.
        memory: keys and values.
        name: scope name, "encoder/block_000/layer_000/SelfAttention" for one.
        mask_bias: float32, added to the logits; see `masks`.
        position_bias: float32 (heads, length, memory_length), or none.

    Returns:
        (batch, length, d_model).
    """
    queries = scope.project(x, f"{name}/q")
    values = scope.dropout_attention(memory.values, mask_bias)
    inputs = [queries, memory.keys, values, mask_bias]
    if position_bias is not None:
        inputs.append(position_bias)
    mixed = slicewise(
        scope.recomputed(attend),
        inputs,
        queries.shape.dims,
        splittable=["batch", "heads"],
    )
    return scope.project(mixed, f"{name}/o")


def relative_position_bias(
    scope: Scope,
    stack: str,
    query_positions: Tensor,
    memory_positions: Tensor,
) -> MeshTensor:
    """The learned bias of every distance: float32 (heads, L, M).

    The first block's table serves all blocks of its stack.

    Args:
        scope: the graph under construction.
        stack: "encoder" or "decoder".
        query_positions: int32 (L,).
        memory_positions: int32 (M,).
    """
    buckets = relative_position_bucket(
        query_positions,
        memory_positions,
        is_bidirectional=stack == "encoder",
        num_buckets=scope.config.num_buckets,
        max_distance=scope.config.max_distance,
    )
    buckets = scope.import_tensor(buckets, ["length", "memory_length"])
    table = scope.weight(
        f"{stack}/block_000/layer_000/SelfAttention/relative_attention_bias"
    )
    return slicewise(
        lambda table, buckets: tf.gather(
            tf.cast(table, tf.float32), buckets, axis=1
        ),
        [table, buckets],
        [scope.heads, *buckets.shape.dims],
        splittable=["heads"],
        dtype=tf.float32,
    )
