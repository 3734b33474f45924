"""A T5 as a Keras layer: resident weights, computed by Mesh TensorFlow.

Letters: B batch, S encoder positions (prompt included), T target positions,
D d_model, V vocabulary.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_prompt.models.layout import parse_layout
from keras_prompt.models.mesh.choice import choose_lowering
from keras_prompt.models.mesh.replica import Replica
from keras_prompt.models.t5 import forward
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.dropout import (
    DropoutNoise,
    check_dropout_rate,
    next_seed,
)
from keras_prompt.models.t5.dtypes import check_backend, check_dtype
from keras_prompt.models.t5.int8 import scale_name
from keras_prompt.models.t5.resident_weights import ResidentWeights
from keras_prompt.models.t5.scope import Scope
from keras_prompt.models.t5.variables import TABLE, dimension_sizes
from keras_prompt.types import FloatArray, Tensor


class MeshT5Backbone(ResidentWeights):
    """Embeds tokens, encodes, decodes. Frozen unless told otherwise.

    Weights are named as in Mesh TensorFlow's checkpoints
    (`variables.weight_table`). They are created once, on construction.

    Args:
        config: the T5's sizes.
        weights: gives a weight's initial value by its name, called once each,
            in float32 or bfloat16. Defaults to random ones, as pre-training
            starts.
        seed: of the random weights.
        preset: what to call these weights in cards and errors.
        dropout_rate: used in training only, wherever T5 drops units, weights
            of attention among them. The paper's code trained prompts with 0.1
            in the frozen stack.
        rematerialize: whether attention weights and the feed-forward layer's
            inner activations are computed again for the gradient instead of
            kept, which takes less memory and more time.
        dtype: "float32", "bfloat16", "mixed_bfloat16" (weights float32,
            activations bfloat16) or "int8" (weights int8 with a scale a
            channel, see `int8`; activations float32). Softmax and logits are
            always float32; weights that learn are as well.
        trainable: whether the weights learn (pre-training, model tuning).
        mesh_shape: axes along which devices stand, "batch:2;model:2"; empty
            for one device.
        layout: which dimension is cut along which axis,
            "batch:batch;heads:model;d_ff:model;vocab:model". Each device
            holds its slices of the weights only.

    Call arguments:
        embedded: float (B, S, D).
        padding_mask: bool (B, S), True where real.
        decoder_token_ids: int (B, T).
        segments: of packed examples, or none.

    Returns:
        float32 (B, T, V).

    Raises:
        ValueError: Keras does not run on TensorFlow, `dtype` is another one,
            `dropout_rate` is no probability below 1, bfloat16 or int8 weights
            should learn, the mesh or layout does not fit the model or the
            devices, or the weights of a mesh should learn.
    """

    def __init__(
        self,
        config: T5Config,
        *,
        weights: Callable[[str], FloatArray] | None = None,
        seed: int = 0,
        preset: str = "random",
        dropout_rate: float = 0.0,
        rematerialize: bool = False,
        dtype: str = "float32",
        trainable: bool = False,
        mesh_shape: str = "",
        layout: str = "",
        name: str = "backbone",
    ) -> None:
        check_backend()
        check_dtype(dtype, trainable=trainable)
        check_dropout_rate(dropout_rate)
        split = parse_layout(mesh_shape, layout, dimension_sizes(config))
        if trainable and split.device_count > 1:
            raise ValueError(
                "`trainable=True` needs the whole of every weight on every "
                "device: leave `mesh_shape` and `layout` out and use a "
                "tf.distribute strategy. "
                f"Received: mesh_shape={mesh_shape!r}"
            )
        super().__init__(
            config,
            choose_lowering(split),
            weights=weights,
            seed=seed,
            dtype=dtype,
            trainable=trainable,
            name=name,
        )
        self.preset = preset
        self.dropout_rate = dropout_rate
        self.rematerialize = rematerialize
        self._dropout_seeds = (
            keras.random.SeedGenerator(seed) if dropout_rate else None
        )
        self.built = True

    def embed(self, token_ids: Tensor) -> Tensor:
        """Int (B, S) to (B, S, D), in the compute dtype."""
        dtype = tf.as_dtype(self.variable_dtype)
        if {"vocab", "d_model"} & self._lowering.layout.axes.keys():
            found = forward.embed(self._scope(), token_ids, dtype)
            return tf.cast(found, self.compute_dtype)
        table = self._read_weight(TABLE, dtype)[0]
        if not self.trainable:
            table = tf.stop_gradient(table)
        rows = tf.cast(tf.gather(table, token_ids), self.compute_dtype)
        if self._is_int8:
            scale = self._read_weight(scale_name(TABLE), rows.dtype)[0]
            rows *= tf.gather(scale, token_ids)[..., None]
        return rows

    def call(
        self,
        embedded: Tensor,
        padding_mask: Tensor,
        decoder_token_ids: Tensor,
        segments: forward.Segments | None = None,
        training: bool = False,
    ) -> Tensor:
        return forward.encode_and_decode(
            self._scope(training),
            tf.cast(embedded, self.compute_dtype),
            padding_mask,
            self.embed(decoder_token_ids),
            segments,
        )

    def encode(self, embedded: Tensor, padding_mask: Tensor) -> Tensor:
        """The encoder alone: (B, S, D), bool (B, S) to (B, S, D)."""
        embedded = tf.cast(embedded, self.compute_dtype)
        return forward.encode(self._scope(), embedded, padding_mask)

    def decode(
        self,
        encoded: Tensor,
        padding_mask: Tensor,
        decoder_token_ids: Tensor,
        target_count: int | Tensor = 1,
    ) -> Tensor:
        """The decoder over all targets, to float32 (B, T, V).

        Args:
            encoded: (B, S, D), from `encode`.
            padding_mask: bool (B, S), True where real.
            decoder_token_ids: int (B, T), one target an input or several,
                end to end, all equally long with their padding.
            target_count: how many.
        """
        return forward.decode(
            self._scope(),
            encoded,
            padding_mask,
            self.embed(decoder_token_ids),
            target_count,
        )

    def start_decoding(
        self, encoded: Tensor, padding_mask: Tensor, max_length: int
    ) -> forward.DecodingCache:
        """The cache for generating up to `max_length` tokens."""
        return forward.start_decoding(
            self._scope(), encoded, padding_mask, max_length
        )

    def decode_step(
        self, cache: forward.DecodingCache, token_ids: Tensor, position: Tensor
    ) -> tuple[Tensor, forward.DecodingCache]:
        """One more token: int (B,) at `position` to float32 (B, V)."""
        target = self.embed(token_ids[:, None])
        return forward.decode_step(self._scope(), cache, target, position)

    def check_answers(self) -> None:
        """Refuses early what could not generate or score between two steps.

        Raises:
            ValueError: the weights are split over a strategy's replicas.
        """
        if isinstance(self._lowering, Replica):
            self._lowering.check_inside()

    @property
    def device_count(self) -> int:
        """Devices that one pass is spread over."""
        return self._lowering.layout.device_count

    def compute_output_shape(
        self,
        embedded_shape: tuple[int | None, ...],
        padding_mask_shape: tuple[int | None, ...],
        decoder_token_ids_shape: tuple[int | None, ...],
    ) -> tuple[int | None, ...]:
        return (*decoder_token_ids_shape, self.config.vocab_size)

    def compute_output_spec(
        self,
        embedded: Any,
        padding_mask: Any,
        decoder_token_ids: Any,
        segments: forward.Segments | None = None,
        training: bool = False,
    ) -> keras.KerasTensor:
        shape = (*decoder_token_ids.shape, self.config.vocab_size)
        return keras.KerasTensor(shape, "float32")

    def _scope(self, training: bool = False) -> Scope:
        seeds = self._dropout_seeds
        dropout = None
        if training and seeds is not None:
            dropout = DropoutNoise(self.dropout_rate, next_seed(seeds))
        return Scope(
            self.config,
            self._lowering,
            self._read_weight,
            compute_dtype=tf.as_dtype(self.compute_dtype),
            is_frozen=not self.trainable,
            rematerialize=self.rematerialize and training,
            dropout=dropout,
        )
