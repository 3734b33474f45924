"""One frozen T5 for every task: each row goes through with its own prompt.

Letters: B batch, T target tokens, V vocabulary.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_prompt.layers.prompt_bank import PromptBank
from keras_prompt.layers.prompt_embedding import InitialPrompt
from keras_prompt.losses import (
    TokenCrossentropy,
    check_token_weights,
    share_of_tokens,
)
from keras_prompt.models.data_position import inherited
from keras_prompt.models.keras_strategy import gradient_clips
from keras_prompt.models.pretrained import load_base
from keras_prompt.models.prompted_t5 import BestPrompt
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.text_bank_t5 import TextBankT5
from keras_prompt.tokenizer import Tokenizer
from keras_prompt.types import Tensor


class PromptBankT5(TextBankT5):
    """A T5 behind a bank of prompts, for batches of rows of many tasks.

    Row i of a batch gets what its prompt alone would give it. `fit`,
    `evaluate` and `predict` are Keras' own; in training every row moves only
    its own prompt, and the loss is the sum over the batch's tasks of the mean
    over each task's target tokens: what separate runs would minimise.

    Args:
        backbone: the frozen T5.
        tokenizer: of its vocabulary.
        bank: the prompts.

    Call arguments:
        inputs: as `PromptTunedT5`, and `task_index` int (B,), from
            `bank.index`.

    Returns:
        float32 (B, T, V), logits.

    Attributes:
        bank: the `PromptBank`; its weights learn.

    Raises:
        ValueError: a prompt was tuned on another base, or is of another
            width; the message names it.
    """

    def __init__(
        self, backbone: MeshT5Backbone, tokenizer: Tokenizer, bank: PromptBank
    ) -> None:
        super().__init__(backbone, tokenizer, name="prompt_bank_t5")
        _check_base(backbone, bank)
        self.bank = bank
        if not bank.built:
            bank.build((None, None, backbone.config.d_model))
        self.built = True

    @classmethod
    def from_preset(
        cls,
        preset: str | Path,
        bank: PromptBank,
        dtype: str = "float32",
        dropout_rate: float = 0.0,
        mesh_shape: str = "",
        layout: str = "",
    ) -> "PromptBankT5":
        """Loads a T5 and puts the bank before it.

        Args:
            preset: a name of `keras-prompt models`, or a checkpoint folder.
            bank: the prompts.
            dtype: as `PromptTunedT5.from_preset`, like the next.
            dropout_rate: in the frozen stack and on the prompts while
                training.
            mesh_shape: axes along which devices stand.
            layout: which dimension is cut along which axis.

        Raises:
            ValueError: an unknown preset, a checkpoint that does not fit, or
                a prompt of another base.
            FileNotFoundError: nothing is at that path.
        """
        backbone, tokenizer = load_base(
            preset,
            dtype=dtype,
            dropout_rate=dropout_rate,
            mesh_shape=mesh_shape,
            layout=layout,
        )
        return cls(backbone, tokenizer, bank)

    @property
    def prompt_weights(self) -> Mapping[str, keras.Variable]:
        return {_key(task): w for task, w in self.bank.prompts.items()}

    def prompt_name(self, task: str | None) -> str:
        if task is None:
            raise ValueError(
                "`task` must name one of the bank's prompts: "
                f"{', '.join(self.bank.names)}."
            )
        self.bank.index([task])
        return _key(task)

    @property
    def best(self) -> dict[str, BestPrompt]:
        """What `BankEvaluator` found best so far, by task."""
        return {
            task: self.best_prompts[_key(task)]
            for task in self.bank.names
            if _key(task) in self.best_prompts
        }

    def weights_of(self, task: str) -> Mapping[str, keras.Variable]:
        name = self.prompt_name(task)
        return {name: self.prompt_weights[name]}

    def initialize_prompt(
        self, task: str, initial_prompt: InitialPrompt, seed: int = 0
    ) -> None:
        """Gives a task's prompt its first value, one of `initial_prompts`.

        What was its best before belongs to another run and is forgotten.
        """
        name = self.prompt_name(task)
        length = self.bank.prompt_lengths[task]
        self.set_prompt(name, self.initial_prompt(initial_prompt, length, seed))

    def prompted(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        if "task_index" not in inputs:
            raise ValueError(
                "A bank's inputs hold `task_index`, each row's prompt: take "
                "`make_mixture_dataset`, also for one task, or `bank.index`. "
                f"Received: {sorted(inputs)}"
            )
        embedded = self.backbone.embed(inputs["encoder_token_ids"])
        return self.bank(
            embedded, inputs["task_index"], inputs["encoder_padding_mask"]
        )

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        reduction = getattr(loss, "reduction", None)
        if loss is not None and reduction != "mean_with_sample_weight":
            raise ValueError(
                "`loss` must be a mean over weights, so that each task's can "
                "be told from the others': TokenCrossentropy(), or a loss "
                "with reduction='mean_with_sample_weight'. "
                f"Received: loss={loss!r} with reduction={reduction!r}"
            )
        norm = gradient_clips(optimizer).get("global_clipnorm")
        if norm is not None:
            raise ValueError(
                "`global_clipnorm` must not be set: it is a norm of all "
                "prompts' gradients together, and each trains as in a run of "
                "its own. Take `clipnorm`, which is a prompt's. "
                f"Received: global_clipnorm={norm!r}"
            )
        super().compile(optimizer, loss, *args, **kwargs)

    def check_data(self, data: Any) -> None:
        names = inherited(data, "task_names")
        if names is not None and names != self.bank.names:
            raise ValueError(
                "The tasks of the mixture must be the bank's, in its order. "
                f"Received: {names} for a bank of {self.bank.names}"
            )

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        self.check_data(x)
        return super().evaluate(x, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        self.check_data(x)
        return super().predict(x, *args, **kwargs)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """The sum over tasks of the mean over a task's target tokens."""
        if sample_weight is None:
            sample_weight = tf.not_equal(y, self.tokenizer.pad_id)
        check_token_weights(sample_weight, y)
        weights = tf.cast(sample_weight, tf.float32)
        task_index = x["task_index"]
        tokens = tf.math.unsorted_segment_sum(
            tf.reduce_sum(weights, axis=-1), task_index, len(self.bank.names)
        )
        replica = tf.distribute.get_replica_context()
        if replica is not None and replica.num_replicas_in_sync > 1:
            tokens = replica.all_reduce(tf.distribute.ReduceOp.SUM, tokens)
        share = tf.math.divide_no_nan(1.0, tf.gather(tokens, task_index))
        weights *= share[:, None]
        mean = super().compute_loss(x, y, y_pred, weights, training)
        if not isinstance(self.loss, TokenCrossentropy):  # which sees to it
            mean *= share_of_tokens(weights)
        # Each task's weights add up to 1, so the mean is over the tasks.
        return mean * tf.cast(tf.math.count_nonzero(tokens), mean.dtype)


def _key(task: str) -> str:
    return f"prompt/{task}"


def _check_base(backbone: MeshT5Backbone, bank: PromptBank) -> None:
    prompts = bank.prompts if bank.built else {}
    for name, weight in prompts.items():
        if weight.shape[1] != backbone.config.d_model:
            raise ValueError(
                f"Prompt '{name}' has d_model {weight.shape[1]}; this model, "
                f"{backbone.preset}, has {backbone.config.d_model}."
            )
    mine = backbone.fingerprint() if bank.cards else ""
    for name, card in bank.cards.items():
        card.refuse_other_base(name, mine, f"this model is {backbone.preset}")
