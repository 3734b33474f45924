"""A T5 whose every weight learns: pre-training and LM adaptation.

Letters: B batch, S encoder positions, T target positions, V vocabulary.
"""

from typing import Any

import keras
import tensorflow as tf

from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.forward import Segments
from keras_prompt.types import Tensor


class T5LanguageModel(keras.Model):
    """Trains a backbone on packed text.

    Args:
        backbone: constructed with `trainable=True`.

    Call arguments:
        inputs: int (B, S) `encoder_token_ids` and `encoder_segments`, bool
            (B, S) `encoder_padding_mask`, int (B, T) `decoder_token_ids` and
            `decoder_segments`.

    Returns:
        float32 (B, T, V).
    """

    def __init__(self, backbone: MeshT5Backbone) -> None:
        super().__init__(name="t5_language_model")
        self.backbone = backbone
        self.built = True

    def call(self, inputs: dict[str, Tensor], training: bool = False) -> Tensor:
        return self.backbone(
            self.backbone.embed(inputs["encoder_token_ids"]),
            inputs["encoder_padding_mask"],
            inputs["decoder_token_ids"],
            Segments(inputs["encoder_segments"], inputs["decoder_segments"]),
            training=training,
        )

    def train_step(self, data: tuple[Any, ...]) -> dict[str, Any]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            logits = self(x, training=True)
            loss = self.compute_loss(x, y, logits, sample_weight)
        gradients = tape.gradient(
            loss, [v.value for v in self.trainable_weights]
        )
        # An embedding's gradient comes as slices; the optimizer factors whole
        # matrices.
        self.optimizer.apply(
            [tf.convert_to_tensor(g) for g in gradients], self.trainable_weights
        )
        self._loss_tracker.update_state(loss)
        return self.get_metrics_result()
