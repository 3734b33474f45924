"""What every model with prompts does once they stand before its input.

Letters: B batch, P prompt length, D d_model, T target tokens, L labels.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import keras
import numpy as np
import tensorflow as tf

from keras_prompt.arguments import LONGEST, check_integers
from keras_prompt.layers.prompt_embedding import InitialPrompt
from keras_prompt.models import decoding
from keras_prompt.models.resumable_fit import ResumableModel
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.variables import parameter_count
from keras_prompt.models.text_batches import Features, TextBatch, TokenIds
from keras_prompt.tokenizer import Tokenizer
from keras_prompt.types import FloatArray, Tensor


class BestPrompt(NamedTuple):
    """The prompt that scored best on the evaluation split so far.

    In model tuning, one weight of the model that did.

    Attributes:
        score: of the task, larger is better.
        step: optimizer steps behind it.
        prompt: float32 (P, D), or as the weight is.
        evaluation: digits that differ where scores do not compare.
    """

    score: float
    step: int
    prompt: FloatArray
    evaluation: str = ""


class PromptedT5(ResumableModel):
    """A frozen T5 behind prompts that learn; subclasses say which prompt.

    `fit` resumes what a callback restored; `evaluate` and `predict` are
    Keras' own.

    Args:
        backbone: the frozen T5.
        tokenizer: of its vocabulary.
        name: of the model.

    Raises:
        ValueError: the tokenizer has more ids than the T5.

    Attributes:
        best_prompts: what evaluation found best so far, by the names of
            `tuned_weights`.
    """

    def __init__(
        self, backbone: MeshT5Backbone, tokenizer: Tokenizer, name: str
    ) -> None:
        super().__init__(name=name)
        ids = backbone.config.vocab_size
        if tokenizer.vocabulary_size > ids:
            raise ValueError(
                f"`tokenizer` must have no more ids than the T5, {ids:,}: "
                "beyond its embeddings there is nothing to look up. Received: "
                f"a vocabulary of {tokenizer.vocabulary_size:,}"
            )
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.vocabulary_size = backbone.config.vocab_size
        self.device_count = backbone.device_count
        self.best_prompts: dict[str, BestPrompt] = {}

    @property
    def prompt_weights(self) -> Mapping[str, keras.Variable]:
        """Every prompt, float32 (its length, D), by a name.

        The names are "prompt" where there is one, else "prompt/<task>".
        """
        raise NotImplementedError

    @property
    def tuned_weights(self) -> Mapping[str, keras.Variable]:
        """Every weight that learns, by a name."""
        return self.prompt_weights

    def weights_of(self, task: str) -> Mapping[str, keras.Variable]:
        """Those of `tuned_weights` that a task's answers depend on."""
        return self.tuned_weights

    def keep_best(
        self, task: str, score: float, step: int, evaluation: str = ""
    ) -> None:
        """Keeps what learns for a task if no earlier one scored as well.

        Weights that are not finite are worse than any that are, whatever
        they score.

        Args:
            task: its name.
            score: larger is better; no number, as of a correlation with a
                constant, is worse than any.
            step: optimizer steps behind it.
            evaluation: digits that differ where scores do not compare.
        """
        weights = self.weights_of(task)
        before = self.best_prompts.get(next(iter(weights)))
        is_better = (
            before is None or math.isnan(before.score) or score > before.score
        )
        if not is_better:
            return
        values = {name: w.numpy().copy() for name, w in weights.items()}
        if not all(np.isfinite(value).all() for value in values.values()):
            if before is not None:
                return
            score = math.nan
        for name, value in values.items():
            self.best_prompts[name] = BestPrompt(score, step, value, evaluation)

    def set_prompt(self, name: str, value: FloatArray) -> None:
        """Puts a value in a prompt's place; the best before it is forgotten.

        Args:
            name: one of `prompt_weights`.
            value: float32 (its length, D).
        """
        self.prompt_weights[name].assign(value)
        self.best_prompts.pop(name, None)  # of another run, or another task

    def load_weights(self, *args: Any, **kwargs: Any) -> None:
        """Keras' own; the best before it is forgotten."""
        super().load_weights(*args, **kwargs)
        self.best_prompts.clear()

    def base_fingerprint(self) -> str:
        """Of the T5 as it was before any training."""
        return self.backbone.fingerprint()

    def prompt_name(self, task: str | None) -> str:
        """The name in `prompt_weights` of a task's prompt.

        Raises:
            ValueError: there are several prompts, and none is this task's.
        """
        raise NotImplementedError

    def prompted(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Embedded inputs behind their prompts, and the mask of both."""
        raise NotImplementedError

    def initial_prompt(
        self, initial_prompt: InitialPrompt, prompt_length: int, seed: int
    ) -> FloatArray:
        """A first value, float32 (prompt_length, D)."""
        return initial_prompt(
            self.backbone.embedding_table(),
            self.tokenizer,
            prompt_length,
            np.random.default_rng(seed),
        )

    def call(
        self, inputs: Mapping[str, Tensor], training: bool = False
    ) -> Tensor:
        embedded, padding_mask = self.prompted(inputs)
        return self.backbone(
            embedded,
            padding_mask,
            inputs["decoder_token_ids"],
            training=training,
        )

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.get_config()  # before Keras has begun a file

    def export(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            "A model behind prompts is exported in two parts: the prompt by "
            "keras_prompt.export_prompt, and its T5, once for all prompts, by "
            "keras_prompt.export_server."
        )

    def get_config(self) -> NoReturn:
        raise NotImplementedError(
            "A model behind prompts is not saved whole, as its T5 lies in its "
            f"preset, {self.backbone.preset}. Export the prompt "
            "(keras_prompt.export_prompt) or save the weights (save_weights); "
            "`from_preset` makes the model anew."
        )

    def summary(self, *args: Any, **kwargs: Any) -> None:
        """Prints Keras' table, then what is frozen and what learns."""
        super().summary(*args, **kwargs)
        print_line = kwargs.get("print_fn") or print
        print_line(self.parameter_report())

    def parameter_report(self) -> str:
        """One line: frozen and trainable parameters, and their share."""
        frozen = parameter_count(self.backbone.config)
        prompts = self.prompt_weights.values()
        learns = sum(int(np.prod(w.shape)) for w in prompts)
        share = 100 * learns / (frozen + learns)
        what = "the prompt" if len(prompts) == 1 else f"{len(prompts)} prompts"
        return (
            f"Frozen parameters: {frozen:,} · trainable ({what}): "
            f"{learns:,} · {share:.4f} % of all"
        )

    def write(
        self, batches: Iterable[TextBatch], sampler: Any, max_length: int
    ) -> list[str]:
        """An output for every text of some batches, in the texts' order.

        Raises:
            ValueError: there is no such sampler, or `max_length` is no
                positive integer, or above `LONGEST`.
        """
        check_integers(max_length=(max_length, 1, LONGEST))
        max_length = int(max_length)  # a tensor, if it stayed NumPy's
        sampler = decoding.get_sampler(sampler)
        outputs: dict[int, str] = {}
        for rows, features in batches:
            written = self._generate_batch(features, sampler, max_length)
            for row, token_ids in zip(rows, written.numpy(), strict=True):
                outputs[int(row)] = self.tokenizer.decode(token_ids)
        return [outputs[row] for row in range(len(outputs))]

    def log_likelihoods(
        self, batches: Iterable[TextBatch], targets: TokenIds
    ) -> FloatArray:
        """The log-likelihood of every text's targets.

        A text is encoded once for as many targets as `targets_a_pass` has.

        Args:
            batches: of all texts.
            targets: int32 (texts, L, T), padded with 0.

        Returns:
            float32 (texts, L), summed over tokens.
        """
        scores = np.zeros(targets.shape[:2], np.float32)
        for rows, features in batches:
            batch = targets[rows]
            batch = batch[..., : np.count_nonzero(batch, axis=-1).max()]
            at_once = int(decoding.targets_a_pass(batch.shape[2]))
            for start in range(0, batch.shape[1], at_once):
                some = slice(start, start + at_once)
                found = self._score_batch(features, batch[:, some])
                scores[rows, some] = found.numpy()
        return scores

    def target_rows(self, targets: Sequence[str]) -> list[list[int]]:
        """Token ids of targets, each with its EOS."""
        eos = [self.tokenizer.eos_id]
        return [self.tokenizer.encode(target) + eos for target in targets]

    @tf.function(reduce_retracing=True, autograph=False)
    def _generate_batch(
        self, features: Features, sampler: Any, max_length: int
    ) -> Tensor:
        embedded, padding_mask = self.prompted(features)
        encoded = self.backbone.encode(embedded, padding_mask)
        return decoding.generate_token_ids(
            self.backbone, sampler, encoded, padding_mask, max_length
        )

    @tf.function(reduce_retracing=True, autograph=False)
    def _score_batch(self, features: Features, targets: Tensor) -> Tensor:
        """(B, L, T) targets to their log-likelihoods (B, L)."""
        embedded, padding_mask = self.prompted(features)
        encoded = self.backbone.encode(embedded, padding_mask)
        return decoding.score_targets(
            self.backbone, encoded, padding_mask, targets
        )
