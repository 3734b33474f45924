"""A T5 without a prompt: for zero-shot evaluation, and for model tuning.

Letters: B batch, T target tokens, V vocabulary.
"""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from keras_prompt.models.pretrained import load_base
from keras_prompt.models.prompted_t5 import BestPrompt
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.variables import parameter_count, weight_table
from keras_prompt.models.text_t5 import TextT5
from keras_prompt.tokenizer import Tokenizer
from keras_prompt.types import FloatArray, Tensor

_SAVED = "weights/"


class PlainT5(TextT5):
    """A T5 as it is, nothing before its input.

    With a backbone that was made `trainable`, `fit` is the paper's model
    tuning: every weight learns. Made frozen, it stays so, and answers
    zero-shot.

    Args:
        backbone: the T5.
        tokenizer: of its vocabulary.

    Call arguments:
        inputs: as `PromptTunedT5`.

    Returns:
        float32 (B, T, V), logits.
    """

    def __init__(self, backbone: MeshT5Backbone, tokenizer: Tokenizer) -> None:
        super().__init__(backbone, tokenizer, name="plain_t5")
        # Before any of it changes.
        learns = bool(backbone.trainable_variables)
        self._base = backbone.fingerprint() if learns else None
        self.built = True

    @classmethod
    def from_preset(
        cls,
        preset: str | Path,
        dtype: str = "float32",
        dropout_rate: float = 0.0,
        trainable: bool = False,
    ) -> "PlainT5":
        """Loads a T5.

        Args:
            preset: a name of `keras-prompt models`, or a checkpoint folder.
            dtype: "float32", "mixed_bfloat16" or, where nothing learns,
                "bfloat16" or "int8".
            dropout_rate: while training.
            trainable: whether every weight learns.

        Raises:
            ValueError: an unknown preset, a checkpoint that does not fit, or
                bfloat16 or int8 weights that should learn.
            FileNotFoundError: nothing is at that path, or a preset that does
                not ship is not in the cache folder.

        Warns:
            UserWarning: the model is a T5 1.1 that was not LM-adapted.
        """
        return cls(
            *load_base(
                preset,
                dtype=dtype,
                dropout_rate=dropout_rate,
                trainable=trainable,
            )
        )

    def prompt_name(self, task: str | None) -> str:
        raise ValueError(
            "A PlainT5 has no prompt. Export the prompt of a PromptTunedT5 or "
            "a PromptBankT5; a tuned model is a folder of its own."
        )

    @property
    def prompt_weights(self) -> Mapping[str, keras.Variable]:
        return {}

    @property
    def tuned_weights(self) -> Mapping[str, keras.Variable]:
        """Every weight of a T5 that learns, by `weights/` and its name."""
        if not self.backbone.trainable_variables:
            return {}
        names = weight_table(self.backbone.config)
        return {_SAVED + name: self.backbone.weight(name) for name in names}

    @property
    def best(self) -> BestPrompt | None:
        return next(iter(self.best_prompts.values()), None)

    def best_weight(self, name: str) -> FloatArray:
        """A weight of the best model so far, float32, by its Mesh-TF name."""
        best = self.best_prompts[_SAVED + name]
        return np.asarray(best.prompt, np.float32)

    def base_fingerprint(self) -> str:
        return self._base or super().base_fingerprint()

    def prompted(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        embedded = self.backbone.embed(inputs["encoder_token_ids"])
        return embedded, inputs["encoder_padding_mask"]

    def parameter_report(self) -> str:
        """One line: how many parameters there are, and whether they learn."""
        count = parameter_count(self.backbone.config)
        learns = "all learn" if self.tuned_weights else "all frozen"
        return f"Parameters: {count:,} · {learns}"
