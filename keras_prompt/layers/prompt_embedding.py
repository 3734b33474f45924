"""The one trainable weight of prompt tuning: P vectors before the input.

Letters: B batch, S input tokens, P prompt length, D d_model, V vocabulary.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from keras_prompt.arguments import check_integers
from keras_prompt.tokenizer import Tokenizer
from keras_prompt.types import FloatArray, Tensor

# Given the embedding table, (V, D), the tokenizer, P and a generator: the
# prompt before training, (P, D). `keras_prompt.initial_prompts` makes some.
InitialPrompt: TypeAlias = Callable[
    [FloatArray, Tokenizer, int, np.random.Generator], FloatArray
]


@keras.saving.register_keras_serializable(package="keras_prompt")
class PromptEmbedding(keras.layers.Layer):
    """Puts trainable prompt vectors before embedded inputs.

    The padding mask gets P `True` in front: every position sees the whole
    prompt, and padding stays hidden. The weight is float32 whatever the
    activations' type.

    Keras finds the class of a saved model of yours once it is imported: before
    `keras.saving.load_model`, `from keras_prompt import PromptEmbedding`, and
    likewise `Adafactor` and `TokenCrossentropy`.

    Args:
        prompt_length: P, at least 1; 100 in the paper.
        prompt_initializer: of the (P, D) weight. Defaults to uniform in
            [-0.5, 0.5], "random uniform" of Lester et al. 2021, section 3.2.

    Call arguments:
        token_embeddings: float (B, S, D).
        padding_mask: bool (B, S), True where real; defaults to the Keras mask
            of the input, or to all True.

    Returns:
        float (B, P + S, D) of the input's type, and bool (B, P + S).

    Raises:
        ValueError: `prompt_length` is not a positive integer, or the input is
            not (B, S, D) with D known.
    """

    def __init__(
        self,
        prompt_length: int,
        prompt_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        # The output has the input's type, whatever this layer's own.
        super().__init__(autocast=False, **kwargs)
        check_integers(prompt_length=(prompt_length, 1))
        self.prompt_length = int(prompt_length)
        self.prompt_initializer = (
            keras.initializers.RandomUniform(-0.5, 0.5)
            if prompt_initializer is None
            else keras.initializers.get(prompt_initializer)
        )
        self.supports_masking = True

    def build(
        self,
        token_embeddings_shape: tuple[int | None, ...],
        padding_mask_shape: tuple[int | None, ...] | None = None,
    ) -> None:
        check_token_embeddings_shape(token_embeddings_shape)
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.prompt_length, token_embeddings_shape[-1]),
            initializer=self.prompt_initializer,
            dtype="float32",
            autocast=False,
        )
        self.built = True

    def call(
        self,
        token_embeddings: Tensor,
        padding_mask: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        if padding_mask is None:
            padding_mask = mask
        if padding_mask is None:
            padding_mask = ops.ones_like(token_embeddings[:, :, 0], "bool")
        prompt = ops.cast(self.embeddings, token_embeddings.dtype)
        rows = ops.shape(token_embeddings)[0]
        prompt = ops.broadcast_to(prompt, (rows, *self.embeddings.shape))
        visible = ops.ones_like(prompt[:, :, 0], "bool")
        return (
            ops.concatenate([prompt, token_embeddings], axis=1),
            ops.concatenate([visible, ops.cast(padding_mask, "bool")], axis=1),
        )

    def compute_mask(
        self, inputs: Tensor, previous_mask: Tensor | None = None
    ) -> tuple[Tensor | None, None]:
        if previous_mask is None:
            return None, None
        first = ops.ones_like(previous_mask[:, :1], "bool")
        visible = ops.repeat(first, self.prompt_length, axis=1)
        return ops.concatenate([visible, previous_mask], axis=1), None

    def compute_output_shape(
        self,
        token_embeddings_shape: tuple[int | None, ...],
        padding_mask_shape: tuple[int | None, ...] | None = None,
    ) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
        batch, length, width = token_embeddings_shape
        length = None if length is None else length + self.prompt_length
        return (batch, length, width), (batch, length)

    def compute_output_spec(
        self,
        token_embeddings: Any,
        padding_mask: Any = None,
        mask: Any = None,
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        shapes = self.compute_output_shape(token_embeddings.shape)
        return output_spec(token_embeddings, shapes)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["prompt_length"] = self.prompt_length
        config["prompt_initializer"] = keras.initializers.serialize(
            self.prompt_initializer
        )
        return config


def output_spec(
    token_embeddings: Any, shapes: tuple[tuple[int | None, ...], ...]
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Symbolic outputs of a layer that puts prompts before `token_embeddings`.

    Keras itself would give both the layer's own type.
    """
    embedded, visible = shapes
    return (
        keras.KerasTensor(embedded, token_embeddings.dtype),
        keras.KerasTensor(visible, "bool"),
    )


def check_token_embeddings_shape(shape: tuple[int | None, ...]) -> None:
    """Refuses what no prompt can stand before.

    Raises:
        ValueError: `shape` is not (B, S, D) with D known.
    """
    if len(shape) != 3 or shape[-1] is None:
        raise ValueError(
            "`token_embeddings` must have shape (batch, length, d_model) "
            f"with d_model known. Received: shape={tuple(shape)}"
        )
