"""A T5 whose every weight learns: pre-training and LM adaptation.

Letters: B batch, S encoder positions, T target positions, V vocabulary.
"""

from typing import Any

import keras
import tensorflow as tf

from keras_prompt.models.fixed_sums import fixed_order_of_sums
from keras_prompt.models.keras_strategy import StrategyModel
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.forward import Segments
from keras_prompt.types import Tensor


class T5LanguageModel(StrategyModel):
    """Trains a backbone on packed text.

    Args:
        backbone: constructed with `trainable=True`.
        micro_batches: parts a batch is computed in, one after the other, for
            want of memory; the step is that of the whole batch. Divides the
            rows of every batch. 1 on the replicas of a strategy.

    Call arguments:
        inputs: int (B, S) `encoder_token_ids` and `encoder_segments`, bool
            (B, S) `encoder_padding_mask`, int (B, T) `decoder_token_ids` and
            `decoder_segments`.

    Returns:
        float32 (B, T, V).

    Raises:
        ValueError: `micro_batches` are more than 1 on several replicas.
    """

    def __init__(
        self, backbone: MeshT5Backbone, micro_batches: int = 1
    ) -> None:
        super().__init__(name="t5_language_model")
        replicas = self.distribute_strategy.num_replicas_in_sync
        if micro_batches > 1 and replicas > 1:
            # The loss counts all replicas' tokens, and TensorFlow cannot
            # trace a sum over replicas inside the loop over parts.
            raise ValueError(
                "`micro_batches` must be 1 under a strategy, which "
                f"computes a batch in {replicas} parts already: give it "
                "smaller batches or more replicas. "
                f"Received: micro_batches={micro_batches}"
            )
        self.backbone = backbone
        self.vocabulary_size = backbone.config.vocab_size
        self.micro_batches = micro_batches
        self.built = True

    def call(self, inputs: dict[str, Tensor], training: bool = False) -> Tensor:
        return self.backbone(
            self.backbone.embed(inputs["encoder_token_ids"]),
            inputs["encoder_padding_mask"],
            inputs["decoder_token_ids"],
            Segments(inputs["encoder_segments"], inputs["decoder_segments"]),
            training=training,
        )

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        with fixed_order_of_sums():
            return super().fit(*args, **kwargs)

    def train_step(self, data: tuple[Any, ...]) -> dict[str, Any]:
        batch = keras.utils.unpack_x_y_sample_weight(data)
        loss, gradients = (
            self._loss_and_gradients(*batch)
            if self.micro_batches == 1
            else self._accumulated(batch)
        )
        self.optimizer.apply(gradients, self.trainable_weights)
        # A replica's loss is its share of the sum over all of them.
        replicas = self.distribute_strategy.num_replicas_in_sync
        self._loss_tracker.update_state(loss * replicas)
        return self.get_metrics_result()

    def _loss_and_gradients(
        self, x: dict[str, Tensor], y: Tensor, sample_weight: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        with tf.GradientTape() as tape:
            logits = self(x, training=True)
            loss = self.compute_loss(x, y, logits, sample_weight)
        weights = [v.value for v in self.trainable_weights]
        # An embedding's gradient comes as slices; the optimizer factors whole
        # matrices.
        gradients = tape.gradient(loss, weights)
        return loss, [tf.convert_to_tensor(g) for g in gradients]

    def _accumulated(
        self, batch: tuple[Any, ...]
    ) -> tuple[Tensor, list[Tensor]]:
        """The same of a whole batch, from its parts.

        The loss is a mean over target tokens, so each part counts as much as
        it has of them. (Keras' `gradient_accumulation_steps` counts all parts
        alike.)
        """
        parts = tf.nest.map_structure(self._in_parts, batch)
        tokens = tf.reduce_sum(batch[2])

        def add_part(
            index: Tensor, loss: Tensor, *gradients: Tensor
        ) -> tuple[Tensor, ...]:
            part = tf.nest.map_structure(lambda x: x[index], parts)
            share = tf.math.divide_no_nan(tf.reduce_sum(part[2]), tokens)
            part_loss, found = self._loss_and_gradients(*part)
            added = (
                total + share * tf.cast(new, total.dtype)
                for total, new in zip(gradients, found, strict=True)
            )
            return index + 1, loss + share * part_loss, *added

        zeros = [tf.zeros(v.shape, tf.float32) for v in self.trainable_weights]
        _, loss, *gradients = tf.while_loop(
            lambda index, *_: index < self.micro_batches,
            add_part,
            (0, 0.0, *zeros),
            parallel_iterations=1,
        )
        return loss, gradients

    def _in_parts(self, x: Tensor) -> Tensor:
        """(B, ...) to (micro_batches, B / micro_batches, ...)."""
        return tf.reshape(x, [self.micro_batches, -1, *x.shape[1:]])
