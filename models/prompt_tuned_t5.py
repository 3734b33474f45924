"""Prompt tuning's model: tokens, embedded, behind a prompt, through a T5.

Letters: B batch, S input tokens, T target tokens, P prompt length, D d_model,
V vocabulary.
"""

from collections.abc import Mapping
from pathlib import Path

import keras

from keras_prompt.layers.prompt_embedding import InitialPrompt, PromptEmbedding
from keras_prompt.models.pretrained import load_base
from keras_prompt.models.prompted_t5 import BestPrompt
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.text_t5 import TextT5
from keras_prompt.tokenizer import Tokenizer
from keras_prompt.types import Tensor

_PROMPT = "prompt"


class PromptTunedT5(TextT5):
    """A T5 of which one (P, D) matrix learns, the prompt before its input.

    Lester et al. 2021. `fit`, `evaluate` and `predict` are Keras' own.

    Args:
        backbone: the frozen T5.
        tokenizer: of its vocabulary.
        prompt_length: P, at least 1; 100 in the paper.

    Call arguments:
        inputs: `encoder_token_ids` int (B, S), `encoder_padding_mask` bool
            (B, S), True where real, and `decoder_token_ids` int (B, T).

    Returns:
        float32 (B, T, V), logits.

    Attributes:
        prompt: the `PromptEmbedding` layer; its weight `embeddings` is the
            one that learns.
    """

    def __init__(
        self,
        backbone: MeshT5Backbone,
        tokenizer: Tokenizer,
        prompt_length: int = 100,
    ) -> None:
        super().__init__(backbone, tokenizer, name="prompt_tuned_t5")
        self.prompt = PromptEmbedding(prompt_length, name="prompt")
        self.prompt.build((None, None, backbone.config.d_model))
        self.built = True

    @classmethod
    def from_preset(
        cls,
        preset: str | Path,
        prompt_length: int = 100,
        dtype: str = "float32",
        dropout_rate: float = 0.0,
        mesh_shape: str = "",
        layout: str = "",
        rematerialize: bool = False,
    ) -> "PromptTunedT5":
        """Loads a T5 and puts a random prompt before it.

        Args:
            preset: a name of `keras-prompt models`, or the path of a
                checkpoint in any format (docs/checkpoints.md).
            prompt_length: P.
            dtype: "float32", "bfloat16", "mixed_bfloat16" or "int8".
            dropout_rate: in the frozen stack and on the prompt while
                training; 0.1 in the paper's code.
            mesh_shape: axes along which devices stand, "batch:2;model:2".
            layout: which dimension is cut along which axis,
                "batch:batch;heads:model;d_ff:model;vocab:model".
            rematerialize: computes the largest activations twice instead of
                keeping them for the gradient.

        Raises:
            ValueError: an unknown preset, a checkpoint that does not fit, or
                a mesh or layout that does not.
            FileNotFoundError: nothing is at that path, or a preset that does
                not ship is not in the cache folder.

        Warns:
            UserWarning: the model is a T5 1.1 that was not LM-adapted.
        """
        backbone, tokenizer = load_base(
            preset,
            dtype=dtype,
            dropout_rate=dropout_rate,
            mesh_shape=mesh_shape,
            layout=layout,
            rematerialize=rematerialize,
        )
        return cls(backbone, tokenizer, prompt_length)

    @property
    def prompt_length(self) -> int:
        """P."""
        return int(self.prompt.prompt_length)

    def initialize_prompt(
        self, initial_prompt: InitialPrompt, seed: int = 0
    ) -> None:
        """Gives the prompt its first value, one of `initial_prompts`.

        What was best before belongs to another run: `best` is none again.
        """
        value = self.initial_prompt(initial_prompt, self.prompt_length, seed)
        self.set_prompt(_PROMPT, value)

    @property
    def prompt_weights(self) -> Mapping[str, keras.Variable]:
        return {_PROMPT: self.prompt.embeddings}

    def prompt_name(self, task: str | None) -> str:
        return _PROMPT  # whatever the task

    @property
    def best(self) -> BestPrompt | None:
        """What `TaskEvaluator` found best so far, or none."""
        return self.best_prompts.get(_PROMPT)

    @best.setter
    def best(self, found: BestPrompt) -> None:
        self.best_prompts[_PROMPT] = found

    def prompted(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        embedded = self.backbone.embed(inputs["encoder_token_ids"])
        return self.prompt(embedded, inputs["encoder_padding_mask"])
