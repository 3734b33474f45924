"""One frozen T5 for every task: each row goes through with its own prompt.

Letters: N prompts, B batch, S input tokens, T target tokens, V vocabulary,
L labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_prompt.layers.prompt_bank import PromptBank
from keras_prompt.losses import TokenCrossentropy, share_of_tokens
from keras_prompt.models.prompted_t5 import (
    BestPrompt,
    InitialPrompt,
    PromptedT5,
    load_base,
)
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.text_batches import (
    TextBatch,
    check_labels,
    pad_rows,
    refuse_one_string,
    text_batches,
)
from keras_prompt.tokenizer import Tokenizer
from keras_prompt.types import FloatArray, Tensor

Tasks = str | Sequence[str]


class PromptBankT5(PromptedT5):
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
        """Gives a task's prompt its first value, one of `initial_prompts`."""
        weight = self.prompt_weights[self.prompt_name(task)]
        length = self.bank.prompt_lengths[task]
        weight.assign(self.initial_prompt(initial_prompt, length, seed))

    def prompted(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
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
        super().compile(optimizer, loss, *args, **kwargs)

    def fit(
        self, x: Any = None, *args: Any, **kwargs: Any
    ) -> keras.callbacks.History:
        names = getattr(x, "task_names", self.bank.names)
        if names != self.bank.names:
            raise ValueError(
                "The tasks of the mixture must be the bank's, in its order. "
                f"Received: {names} for a bank of {self.bank.names}"
            )
        return super().fit(x, *args, **kwargs)

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

    def generate(
        self,
        texts: Sequence[str],
        tasks: Tasks,
        max_length: int = 32,
        batch_size: int = 32,
        sampler: Any = "greedy",
        input_length: int = 512,
    ) -> list[str]:
        """Writes an output for every text, with its task's prompt.

        Args:
            texts: the inputs.
            tasks: a name for each text, or one for all.
            max_length: the most tokens to write, EOS included.
            batch_size: texts decoded together, whatever their tasks; changes
                no result.
            sampler: as in `PromptTunedT5.generate`.
            input_length: longer inputs are cut, EOS kept.

        Raises:
            ValueError: a task is not in the bank, or not one for each text.
        """
        batches = self._batches(texts, tasks, batch_size, input_length)
        return self.write(batches, sampler, max_length)

    def score(
        self,
        texts: Sequence[str],
        tasks: Tasks,
        targets: Sequence[str],
        batch_size: int = 32,
        input_length: int = 512,
    ) -> FloatArray:
        """The log-likelihood of a target for every text.

        Returns:
            float32 (B,): log P(target and EOS | the task's prompt, text).

        Raises:
            ValueError: as `generate`; or `targets` are one string, or not as
                many as texts.
        """
        refuse_one_string(targets, "targets")
        if len(texts) != len(targets):
            raise ValueError(
                "`targets` must have one target a text. Received: "
                f"{len(texts)} texts and {len(targets)} targets"
            )
        batches = self._batches(texts, tasks, batch_size, input_length)
        rows = pad_rows(self.target_rows(targets))
        return self.log_likelihoods(batches, rows[:, None])[:, 0]

    def rank(
        self,
        texts: Sequence[str],
        tasks: Tasks,
        labels: Mapping[str, Sequence[str]] | None = None,
        batch_size: int = 32,
        input_length: int = 512,
    ) -> FloatArray:
        """The log-likelihood of each of its task's labels for every text.

        Each text is encoded once for up to 64 labels.

        Args:
            texts: the inputs.
            tasks: a name for each text, or one for all.
            labels: of each task; defaults to the label words on the prompts'
                cards.
            batch_size: texts at a time; changes no result.
            input_length: longer inputs are cut, EOS kept.

        Returns:
            float32 (B, L), L the most labels a task here has; -inf after the
            last of a task that has fewer.

        Raises:
            ValueError: as `generate`; or a task has no labels, or one string
                for them.
        """
        names = self._names(texts, tasks)
        by_task = {name: self._labels(name, labels) for name in set(names)}
        count = max(map(len, by_task.values()), default=0)
        words = [word for name in names for word in by_task[name]]
        ids = pad_rows(self.target_rows(words))
        label_count = np.asarray([len(by_task[name]) for name in names])
        is_label = np.arange(count) < label_count[:, None]  # (B, L)
        targets = np.zeros((*is_label.shape, ids.shape[1]), np.int32)
        targets[is_label] = ids
        batches = self._batches(texts, names, batch_size, input_length)
        scores = self.log_likelihoods(batches, targets)
        return np.where(is_label, scores, np.float32(-np.inf))

    def _labels(
        self, task: str, labels: Mapping[str, Sequence[str]] | None
    ) -> Sequence[str]:
        card = self.bank.cards.get(task)
        found: Sequence[str] = card.label_words if card else ()
        if labels is not None:
            found = labels.get(task, ())
        if not found:
            raise ValueError(
                f"Task '{task}' has no labels to rank; give them in `labels`."
            )
        check_labels(found, f"labels[{task!r}]")
        return found

    def _names(self, texts: Sequence[str], tasks: Tasks) -> list[str]:
        names = [tasks] * len(texts) if isinstance(tasks, str) else list(tasks)
        if len(names) != len(texts):
            raise ValueError(
                "`tasks` must name one task a text, or one for all. Received: "
                f"{len(texts)} texts and {len(names)} tasks"
            )
        self.bank.index(names)  # refuses a name it does not have
        return names

    def _batches(
        self,
        texts: Sequence[str],
        tasks: Tasks,
        batch_size: int,
        input_length: int,
    ) -> Iterator[TextBatch]:
        index = self.bank.index(self._names(texts, tasks))
        return (
            TextBatch(rows, features | {"task_index": index[rows]})
            for rows, features in text_batches(
                texts, self.tokenizer, batch_size, input_length
            )
        )


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
