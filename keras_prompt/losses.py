"""T5's loss: cross entropy of the target tokens, with a z-loss.

Letters: B batch, T target tokens, V vocabulary.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_prompt.types import Tensor

_PAD_ID = 0


@keras.saving.register_keras_serializable(package="keras_prompt")
class TokenCrossentropy(keras.losses.Loss):
    """Mean over target tokens of CE + z_loss * log(Z)**2.

    Z is the softmax's normaliser; the second term keeps log(Z) near 0, so
    that logits do not drift (Mesh-TF `softmax_cross_entropy_with_logits`).

    The mean divides by the sum of the weights, not by the number of rows:
    every target token counts the same, however long its row's target is and
    whichever replica of a `tf.distribute` strategy computes it. Without
    `sample_weight`, targets of id 0 (padding) do not count.

    Args:
        z_loss: weight of log(Z)**2, 1e-4 in T5.

    Call arguments:
        y_true: int (B, T), target ids.
        y_pred: float (B, T, V), logits.
        sample_weight: float (B, T), 0 for positions that do not count.

    Raises:
        ValueError: `z_loss` is negative, or `sample_weight` has another shape
            than `y_true`.
    """

    def __init__(
        self, z_loss: float = 1e-4, name: str = "token_crossentropy"
    ) -> None:
        if z_loss < 0:
            raise ValueError(
                f"`z_loss` must be at least 0. Received: z_loss={z_loss!r}"
            )
        # Keras casts the ids, too, to this type, whatever the logits'.
        super().__init__(
            name=name, reduction="mean_with_sample_weight", dtype="float32"
        )
        self.z_loss = z_loss

    def __call__(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        if sample_weight is None:
            sample_weight = keras.ops.cast(
                keras.ops.not_equal(y_true, _PAD_ID), "float32"
            )
        check_token_weights(sample_weight, y_true)
        mean = super().__call__(y_true, y_pred, sample_weight)
        return mean * share_of_tokens(sample_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        targets = tf.cast(y_true, tf.int32)

        @tf.custom_gradient
        def losses(
            logits: Tensor,
        ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
            """One softmax for both terms and their gradient, not three."""
            log_normaliser = tf.reduce_logsumexp(logits, axis=-1)
            chosen = tf.gather(logits, targets, batch_dims=targets.shape.rank)

            def gradient(upstream: Tensor) -> Tensor:
                share = upstream * (1 + 2 * self.z_loss * log_normaliser)
                probabilities = tf.exp(logits - log_normaliser[..., None])
                is_target = tf.one_hot(targets, tf.shape(logits)[-1])
                return (
                    share[..., None] * probabilities
                    - upstream[..., None] * is_target
                )

            z_loss = self.z_loss * tf.square(log_normaliser)
            return log_normaliser - chosen + z_loss, gradient

        return losses(tf.cast(y_pred, tf.float32))

    def get_config(self) -> dict[str, Any]:
        return {"z_loss": self.z_loss, "name": self.name}


def check_token_weights(sample_weight: Tensor, y_true: Tensor) -> None:
    """Refuses weights that are not one for each target token.

    Args:
        sample_weight: float (B, T).
        y_true: int (B, T).

    Raises:
        ValueError: their shapes differ, as far as they are known; Keras
            would stretch weights of (B, 1), and divide by a row's once.
    """
    theirs, mine = map(_static_shape, (sample_weight, y_true))
    if len(theirs) != len(mine) or any(
        None not in sizes and sizes[0] != sizes[1]
        for sizes in zip(theirs, mine, strict=True)
    ):
        raise ValueError(
            "`sample_weight` must have a weight for each target token, "
            f"shape (B, T). Received: {theirs} for targets of {mine}"
        )


def _static_shape(value: Tensor) -> tuple[int | None, ...]:
    sizes = keras.ops.shape(value)
    return tuple(size if isinstance(size, int) else None for size in sizes)


def share_of_tokens(sample_weight: Tensor) -> Tensor | float:
    """What makes the mean of all replicas' means the mean of all tokens.

    This replica's tokens over those of an average replica; 1 for one replica.
    """
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return 1.0
    tokens = tf.reduce_sum(tf.cast(sample_weight, tf.float32))
    average = replica.all_reduce(tf.distribute.ReduceOp.MEAN, tokens)
    return tf.math.divide_no_nan(tokens, average)
