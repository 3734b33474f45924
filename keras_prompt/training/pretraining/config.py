"""What a pre-training or adaptation run is asked to do."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from keras_prompt.arguments import check_integers
from keras_prompt.atomic_files import write_file
from keras_prompt.tasks.span_corruption import check_span_corruption_length
from keras_prompt.training.run_settings import (
    PRETRAINING,
    TUNING,
    as_stored,
    refuse_other,
    refuse_other_kind,
    with_defaults,
)

_POSITIVE = (
    "d_model",
    "d_kv",
    "d_ff",
    "num_heads",
    "num_encoder_layers",
    "num_decoder_layers",
    "steps",
    "evaluate_every",
    "batch_size",
    "input_length",
    "warmup_steps",
    "micro_batches",
)


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """Settings of `pretrain` and `adapt`.

    Attributes:
        texts: sources of documents (`tasks.documents`): text files, plain,
            .gz or .xz, "tfds:NAME/SPLIT:FEATURE", "seqio:TASK".
        output: folder for the checkpoint and the finished model.
        objective: "span_corruption" (pre-training) or "prefix_lm" (adaptation).
        base: folder of the model to adapt; none starts from random weights.
        vocabulary: a `spiece.model`; with a base, the base's own is used.
        train_vocabulary: pieces of a vocabulary to train on the texts
            instead.
        vocab_size: rows of the embedding table; none is all the vocabulary's
            ids, sentinels included, rounded up to a multiple of 64.
        d_model, d_kv, d_ff, num_heads, num_encoder_layers,
            num_decoder_layers: the sizes of a model without base (`T5Config`).
        embeddings: how a model without base starts: "random", or
            "cooccurrence", the texts' `word_vectors` where there is one.
        steps: optimizer steps in all, a multiple of `evaluate_every`.
        evaluate_every: steps between validations, which also checkpoint.
        batch_size: packed rows a step.
        micro_batches: parts a step's rows are computed in, one after the
            other, for want of memory; divides `batch_size`.
        input_length: tokens of a row's input; at most 1,809 in span
            corruption, which has no more sentinels.
        learning_rate: constant, times each weight's root mean square; none
            takes T5's 1 / sqrt(max(step, warmup_steps)).
        warmup_steps: of that schedule (T5: 10,000).
        decay_steps: the run's last steps, in which the rate falls to 0.
        clip_norm: the largest norm of all gradients together; none does not
            clip, as T5 did not (Adafactor bounds each weight's update).
        dtype: "mixed_bfloat16" or "float32"; see `MeshT5Backbone`.
        seed: of the initial weights and of the data.

    Raises:
        ValueError: a setting is not of its kind or range, or two of them
            contradict each other.
    """

    texts: tuple[str, ...]
    output: str
    objective: str = "span_corruption"
    base: str | None = None
    vocabulary: str | None = None
    train_vocabulary: int | None = None
    vocab_size: int | None = None
    d_model: int = 192
    d_kv: int = 64
    d_ff: int = 512
    num_heads: int = 3
    num_encoder_layers: int = 4
    num_decoder_layers: int = 2
    embeddings: str = "random"
    steps: int = 10_000
    evaluate_every: int = 250
    batch_size: int = 32
    micro_batches: int = 1
    input_length: int = 256
    learning_rate: float | None = None
    warmup_steps: int = 10_000
    decay_steps: int = 0
    clip_norm: float | None = None
    dtype: str = "mixed_bfloat16"
    seed: int = 0

    def __post_init__(self) -> None:
        sizes = {field: (getattr(self, field), 1) for field in _POSITIVE}
        for field in ("vocab_size", "train_vocabulary"):
            if getattr(self, field) is not None:
                sizes[field] = (getattr(self, field), 1)
        check_integers(**sizes, seed=(self.seed, 0))
        for field in ("learning_rate", "clip_norm"):
            value = getattr(self, field)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(
                    f"`{field}` must be a positive number or None. "
                    f"Received: {field}={value!r}"
                )
        is_prefix_lm = self.objective == "prefix_lm"
        rules = {
            "steps": (
                self.steps % self.evaluate_every == 0,
                f"must be a multiple of evaluate_every={self.evaluate_every}, "
                "so that the run ends with a validation",
            ),
            "objective": (
                is_prefix_lm or self.objective == "span_corruption",
                "must be 'span_corruption' or 'prefix_lm'",
            ),
            "embeddings": (
                self.embeddings == "random"
                or (self.embeddings == "cooccurrence" and self.base is None),
                "must be 'random' or, without a base, 'cooccurrence'",
            ),
            "dtype": (
                self.dtype in ("float32", "mixed_bfloat16"),
                "must be 'float32' or 'mixed_bfloat16'; weights that are "
                "bfloat16 themselves would lose small steps",
            ),
            "input_length": (
                self.input_length > 1
                and not (is_prefix_lm and self.input_length % 2),
                "must be at least 2, and even for prefix_lm, whose rows are "
                "two examples",
            ),
            "micro_batches": (
                self.batch_size % self.micro_batches == 0,
                f"must divide batch_size={self.batch_size}",
            ),
            "decay_steps": (
                0 <= self.decay_steps <= self.steps,
                f"must be from 0 to steps={self.steps}",
            ),
            "texts": (
                bool(self.texts) and not isinstance(self.texts, str),
                "must be a sequence of at least one source",
            ),
        }
        for field, (is_kept, rule) in rules.items():
            if not is_kept:
                raise ValueError(
                    f"`{field}` {rule}. "
                    f"Received: {field}={getattr(self, field)!r}"
                )
        if not is_prefix_lm:
            check_span_corruption_length(self.input_length)
        starts = (self.base, self.vocabulary, self.train_vocabulary)
        if sum(start is not None for start in starts) != 1:
            raise ValueError(
                "Give one of `vocabulary` or `train_vocabulary`, to start "
                "from random weights, or `base`, to adapt a model, which "
                f"brings its own. Received: vocabulary={self.vocabulary!r}, "
                f"train_vocabulary={self.train_vocabulary!r}, "
                f"base={self.base!r}"
            )

    def check_output(self) -> Path:
        """The output folder, if it is this run's to use.

        Raises:
            ValueError: it belongs to a run with other settings, or of another
                kind.
        """
        refuse_other_kind(Path(self.output), TUNING)
        theirs = self.recorded()
        if theirs is not None:
            # More steps continue a run, and may give it an end. After that, as
            # with anything else, it would be another run.
            may_change = {"output"}
            if not theirs["decay_steps"]:
                may_change |= {"steps", "decay_steps"}
            refuse_other(Path(self.output), theirs, self, may_change)
        return Path(self.output)

    def recorded(self) -> dict[str, Any] | None:
        """The settings that the output folder's run has, if there is one.

        Raises:
            ValueError: its record is damaged.
        """
        path = Path(self.output) / PRETRAINING
        if not path.is_file():
            return None
        try:
            stored = dict(json.loads(path.read_text()))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is damaged ({error}). Choose another output folder, "
                "or remove this one to start again."
            ) from error
        return with_defaults(PretrainConfig, stored)

    def claim_output(self) -> None:
        """Leaves this config in the output folder, which is made if absent.

        Raises:
            ValueError: the folder belongs to a run with other settings.
            OSError: it cannot be written.
        """
        text = json.dumps(as_stored(self), indent=2) + "\n"
        write_file(self.check_output() / PRETRAINING, text)
