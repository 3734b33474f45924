"""Prompt tuning's model: tokens, embedded, behind a prompt, through a T5.

Letters: B batch, S input tokens, T target tokens, P prompt length, D d_model,
V vocabulary, L labels.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_prompt.layers.prompt_embedding import PromptEmbedding
from keras_prompt.models import decoding
from keras_prompt.models.checkpoints import hugging_face
from keras_prompt.models.data_position import TrackPosition
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.presets import find_checkpoint
from keras_prompt.models.text_batches import pad_rows, text_batches
from keras_prompt.tokenizer import Tokenizer
from keras_prompt.types import FloatArray, Tensor

InitialPrompt = Callable[
    [FloatArray, Tokenizer, int, np.random.Generator], FloatArray
]
Features = dict[str, Tensor]


class BestPrompt(NamedTuple):
    """The prompt that scored best on the evaluation split so far.

    Attributes:
        score: of the task, larger is better.
        step: optimizer steps behind it.
        prompt: float32 (P, D).
    """

    score: float
    step: int
    prompt: FloatArray


class PromptTunedT5(keras.Model):
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
        best: what `TaskEvaluator` found best so far, or none.
    """

    def __init__(
        self,
        backbone: MeshT5Backbone,
        tokenizer: Tokenizer,
        prompt_length: int = 100,
    ) -> None:
        super().__init__(name="prompt_tuned_t5")
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.prompt = PromptEmbedding(prompt_length, name="prompt")
        self.prompt.build((None, None, backbone.config.d_model))
        self.best: BestPrompt | None = None
        self.built = True

    @classmethod
    def from_preset(
        cls,
        preset: str | Path,
        prompt_length: int = 100,
        dtype: str = "float32",
        dropout_rate: float = 0.0,
    ) -> "PromptTunedT5":
        """Loads a T5 and puts a random prompt before it.

        Args:
            preset: a name of `keras-prompt models`, or a checkpoint folder.
            prompt_length: P.
            dtype: "float32", "bfloat16" or "mixed_bfloat16".
            dropout_rate: in the frozen stack and on the prompt while
                training; 0.1 in the paper's code.

        Raises:
            ValueError: an unknown preset, or a checkpoint that does not fit.
            FileNotFoundError: nothing is at that path.
        """
        folder = find_checkpoint(preset)
        checkpoint = hugging_face.read(folder)
        tokenizer = Tokenizer.from_file(checkpoint.vocabulary)
        backbone = MeshT5Backbone(
            checkpoint.config,
            weights=checkpoint.weights,
            preset=folder.resolve().name,
            dtype=dtype,
            dropout_rate=dropout_rate,
        )
        return cls(backbone, tokenizer, prompt_length)

    @property
    def prompt_length(self) -> int:
        """P."""
        return int(self.prompt.prompt_length)

    def initialize_prompt(
        self, initial_prompt: InitialPrompt, seed: int = 0
    ) -> None:
        """Gives the prompt its first value, one of `initial_prompts`."""
        value = initial_prompt(
            self.backbone.embedding_table(),
            self.tokenizer,
            self.prompt_length,
            np.random.default_rng(seed),
        )
        self.prompt.embeddings.assign(value)

    def call(self, inputs: Features, training: bool = False) -> Tensor:
        embedded, padding_mask = self._prompted(inputs)
        return self.backbone(
            embedded,
            padding_mask,
            inputs["decoder_token_ids"],
            training=training,
        )

    def compile(
        self, *args: Any, jit_compile: bool = False, **kwargs: Any
    ) -> None:
        # Keras' default compiles with XLA anew for each batch's longest row.
        super().compile(*args, jit_compile=jit_compile, **kwargs)

    def fit(
        self,
        x: Any = None,
        *args: Any,
        epochs: int = 1,
        callbacks: Sequence[keras.callbacks.Callback] | None = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        # Callbacks that save come last: what the others find out in the same
        # step belongs to what is saved.
        callbacks = sorted(
            callbacks or [], key=lambda callback: hasattr(callback, "resume")
        )
        position = getattr(x, "position", None)
        per_epoch = steps_per_epoch
        if position is not None:
            per_epoch = steps_per_epoch or position.batches_per_epoch
        steps_done = 0
        self.optimizer.build(self.trainable_variables)
        for callback in callbacks:
            if hasattr(callback, "resume"):
                steps_done = callback.resume(self, per_epoch, position)
        if position is not None:
            callbacks.insert(0, TrackPosition(position))
        fit = functools.partial(super().fit, x, *args, **kwargs)
        if per_epoch is None or not steps_done:
            return fit(
                epochs=epochs,
                callbacks=callbacks,
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
            )
        initial_epoch, into_epoch = divmod(steps_done, per_epoch)
        if into_epoch and steps_per_epoch is not None:
            # Keras runs epochs of one length; the broken one is shorter.
            history = fit(
                epochs=min(epochs, initial_epoch + 1),
                callbacks=callbacks,
                initial_epoch=initial_epoch,
                steps_per_epoch=per_epoch - into_epoch,
            )
            initial_epoch += 1
            if initial_epoch >= epochs or self.stop_training:
                return history
        return fit(
            epochs=epochs,
            callbacks=callbacks,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
        )

    def generate(
        self,
        texts: Sequence[str],
        max_length: int = 32,
        batch_size: int = 32,
        sampler: Any = "greedy",
        input_length: int = 512,
    ) -> list[str]:
        """Writes an output for every text.

        Args:
            texts: the inputs.
            max_length: the most tokens to write, EOS included.
            batch_size: texts decoded together; changes no result.
            sampler: "greedy", "beam", "top_k", "top_p", "random", or a
                `keras_hub.samplers.Sampler`.
            input_length: longer inputs are cut, EOS kept.
        """
        sampler = decoding.get_sampler(sampler)
        outputs: list[str] = []
        for features in text_batches(
            texts, self.tokenizer, batch_size, input_length
        ):
            token_ids = self._generate_batch(features, sampler, max_length)
            outputs += [self.tokenizer.decode(row) for row in token_ids.numpy()]
        return outputs

    def score(
        self,
        texts: Sequence[str],
        targets: Sequence[str],
        batch_size: int = 32,
        input_length: int = 512,
    ) -> FloatArray:
        """The log-likelihood of a target for every text.

        Returns:
            float32 (B,): log P(target and EOS | prompt, text), summed over
            tokens, natural logarithm.

        Raises:
            ValueError: `targets` are not as many as `texts`.
        """
        if len(texts) != len(targets):
            raise ValueError(
                "`targets` must have one target a text. Received: "
                f"{len(texts)} texts and {len(targets)} targets"
            )
        scores = [np.zeros(0, np.float32)]
        rows = self._target_rows(targets)
        for start, features in zip(
            range(0, len(texts), batch_size),
            text_batches(texts, self.tokenizer, batch_size, input_length),
            strict=True,
        ):
            ids = pad_rows(rows[start : start + batch_size])
            scores.append(
                self._score_batch(features, ids[:, None]).numpy()[:, 0]
            )
        return np.concatenate(scores)

    def rank(
        self,
        texts: Sequence[str],
        labels: Sequence[str],
        batch_size: int = 32,
        input_length: int = 512,
    ) -> FloatArray:
        """The log-likelihood of every label for every text.

        Each text is encoded once, whatever the number of labels.

        Returns:
            float32 (B, L), as `score` gives them.
        """
        ids = pad_rows(self._target_rows(labels))[None]  # (1, L, T)
        scores = [np.zeros((0, len(labels)), np.float32)]
        for features in text_batches(
            texts, self.tokenizer, batch_size, input_length
        ):
            size = len(features["encoder_token_ids"])
            tiled = np.repeat(ids, size, axis=0)
            scores.append(self._score_batch(features, tiled).numpy())
        return np.concatenate(scores)

    def summary(self, *args: Any, **kwargs: Any) -> None:
        """Prints Keras' table, then what is frozen and what learns."""
        super().summary(*args, **kwargs)
        print_line = kwargs.get("print_fn", print)
        print_line(self.parameter_report())

    def parameter_report(self) -> str:
        """One line: frozen and trainable parameters, and their share."""
        frozen = sum(int(np.prod(w.shape)) for w in self.backbone.weights)
        learns = int(np.prod(self.prompt.embeddings.shape))
        share = 100 * learns / (frozen + learns)
        return (
            f"Frozen parameters: {frozen:,} · trainable (the prompt): "
            f"{learns:,} · {share:.4f} % of all"
        )

    def _prompted(self, inputs: Features) -> tuple[Tensor, Tensor]:
        embedded = self.backbone.embed(inputs["encoder_token_ids"])
        return self.prompt(embedded, inputs["encoder_padding_mask"])

    def _target_rows(self, targets: Sequence[str]) -> list[list[int]]:
        eos = [self.tokenizer.eos_id]
        return [self.tokenizer.encode(target) + eos for target in targets]

    @tf.function(reduce_retracing=True, autograph=False)
    def _generate_batch(
        self, features: Features, sampler: Any, max_length: int
    ) -> Tensor:
        embedded, padding_mask = self._prompted(features)
        encoded = self.backbone.encode(embedded, padding_mask)
        return decoding.generate_token_ids(
            self.backbone, sampler, encoded, padding_mask, max_length
        )

    @tf.function(reduce_retracing=True, autograph=False)
    def _score_batch(self, features: Features, targets: Tensor) -> Tensor:
        """(B, L, T) targets to their log-likelihoods (B, L)."""
        embedded, padding_mask = self._prompted(features)
        encoded = self.backbone.encode(embedded, padding_mask)
        labels, length = tf.shape(targets)[1], tf.shape(targets)[2]
        flat = tf.reshape(targets, [-1, length])
        logits = self.backbone.decode(
            tf.repeat(encoded, labels, axis=0),
            tf.repeat(padding_mask, labels, axis=0),
            decoding.shift_right(flat),
        )
        scores = decoding.log_likelihood(logits, flat)
        return tf.reshape(scores, [-1, labels])
