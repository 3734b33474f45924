"""What a pre-training or adaptation run is asked to do."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from keras_prompt.atomic_files import write_file

_POSITIVE = (
    "vocab_size",
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
)


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """Settings of `pretrain` and `adapt`.

    Attributes:
        texts: text files, plain, .gz or .xz; blank lines divide documents.
        output: folder for the checkpoint and the finished model.
        objective: "span_corruption" (pre-training) or "prefix_lm" (adaptation).
        base: folder of the model to adapt; none starts from random weights.
        vocabulary: a `spiece.model`; with a base, the base's own is used.
        vocab_size, d_model, d_kv, d_ff, num_heads, num_encoder_layers,
            num_decoder_layers: the sizes of a model without base (`T5Config`).
        steps: optimizer steps in all, a multiple of `evaluate_every`.
        evaluate_every: steps between validations, which also checkpoint.
        batch_size: packed rows a step.
        input_length: tokens of a row's input.
        learning_rate: constant, times each weight's root mean square; none
            takes T5's 1 / sqrt(max(step, warmup_steps)).
        warmup_steps: of that schedule (T5: 10,000).
        dtype: see `MeshT5Backbone`.
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
    vocab_size: int = 8128
    d_model: int = 192
    d_kv: int = 64
    d_ff: int = 512
    num_heads: int = 3
    num_encoder_layers: int = 4
    num_decoder_layers: int = 2
    steps: int = 10_000
    evaluate_every: int = 250
    batch_size: int = 32
    input_length: int = 256
    learning_rate: float | None = None
    warmup_steps: int = 10_000
    dtype: str = "mixed_bfloat16"
    seed: int = 0

    def __post_init__(self) -> None:
        for field in _POSITIVE:
            value = getattr(self, field)
            if type(value) is not int or value < 1:
                raise ValueError(
                    f"`{field}` must be a positive integer. "
                    f"Received: {field}={value!r}"
                )
        if self.steps % self.evaluate_every:
            raise ValueError(
                "`steps` must be a multiple of `evaluate_every`, so that the "
                f"run ends with a validation. Received: steps={self.steps}, "
                f"evaluate_every={self.evaluate_every}"
            )
        rate = self.learning_rate
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise ValueError(
                "`learning_rate` must be a positive number, or None for T5's "
                f"schedule. Received: learning_rate={rate!r}"
            )
        if self.objective not in ("span_corruption", "prefix_lm"):
            raise ValueError(
                "`objective` must be 'span_corruption' or 'prefix_lm'. "
                f"Received: objective={self.objective!r}"
            )
        if isinstance(self.texts, str) or not self.texts:
            raise ValueError(
                "`texts` must be a sequence of at least one text file. "
                f"Received: texts={self.texts!r}"
            )
        if (self.base is None) == (self.vocabulary is None):
            raise ValueError(
                "Give `vocabulary` to start from random weights, or `base` "
                "to adapt a model, which brings its own. "
                f"Received: vocabulary={self.vocabulary!r}, base={self.base!r}"
            )

    def check_output(self) -> Path:
        """The output folder, if it is this run's to use.

        Raises:
            ValueError: it belongs to a run with other settings.
        """
        folder = Path(self.output)
        path = folder / "run.json"
        if not path.is_file():
            return folder
        try:
            theirs = dict(json.loads(path.read_text()))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is damaged ({error}). Choose another output folder, "
                "or remove this one to start again."
            ) from error
        self._refuse_other(theirs, folder)
        return folder

    def claim_output(self) -> None:
        """Leaves this config in the output folder, which is made if absent.

        Raises:
            ValueError: the folder belongs to a run with other settings.
            OSError: it cannot be written.
        """
        text = json.dumps(dataclasses.asdict(self), indent=2) + "\n"
        write_file(self.check_output() / "run.json", text)

    def _refuse_other(self, theirs: dict[str, Any], folder: Path) -> None:
        mine = json.loads(json.dumps(dataclasses.asdict(self)))
        # More steps continue a run; anything else would be another run.
        for field in sorted(mine.keys() - {"steps", "output"}):
            if theirs.get(field) != mine[field]:
                raise ValueError(
                    f"{folder} holds a run with {field}={theirs.get(field)!r}; "
                    f"this one has {field}={mine[field]!r}. "
                    "Choose another output folder, or the same settings."
                )
