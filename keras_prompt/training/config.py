"""What a tuning run is asked to do; defaults are the paper's."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from keras_prompt import initial_prompts
from keras_prompt.arguments import LARGEST, check_integers
from keras_prompt.atomic_files import write_file
from keras_prompt.layers.prompt_embedding import InitialPrompt
from keras_prompt.registry import lookup
from keras_prompt.training.evaluation import ANSWERS
from keras_prompt.training.run_folder import CHECKPOINT, HISTORY, RESULT
from keras_prompt.training.run_settings import (
    PRETRAINING,
    TUNING,
    as_stored,
    refuse_other,
    refuse_other_kind,
    with_defaults,
)

INITIAL_PROMPTS: Mapping[str, Callable[[Sequence[str]], InitialPrompt]] = (
    MappingProxyType(
        {
            "class_labels": initial_prompts.class_labels,
            "sampled_vocab": lambda labels: initial_prompts.sampled_vocab(),
            "random_uniform": lambda labels: initial_prompts.random_uniform(),
        }
    )
)
_POSITIVE = (
    "prompt_length",
    "steps",
    "evaluate_every",
    "checkpoint_every",
    "batch_size",
    "input_length",
    "target_length",
)
_LEARNING_RATES = {"prompt": 0.3, "model": 0.001}
_TEXT = "from_text:"
# Where things lie, and how often a run is saved, changes nothing it computes.
_MAY_CHANGE = frozenset({"output", "data_dir", "checkpoint_every"})
# By these a run's settings are told from a model's config.json.
_NEEDED = frozenset({"task", "preset", "output"})


@dataclasses.dataclass(frozen=True)
class TuneConfig:
    """Settings of `tune`.

    Attributes:
        task: name of a registered task; or several names, whose prompts
            `tune_bank` tunes in one fit, with all settings for each.
        preset: model name or checkpoint folder.
        output: folder of the run.
        method: "prompt", or "model", the paper's baseline: every weight of
            the T5 learns, and there is no prompt.
        prompt_length: P; 100 in the paper.
        initial_prompt: "class_labels", "sampled_vocab", "random_uniform",
            "from_text:" and the text, or the path of a prompt in any format
            of `prompt_formats`.
        steps: optimizer steps; 30,000 in the paper. A multiple of
            `evaluate_every`, or fewer.
        evaluate_every: steps between evaluations; 1,000 in its code.
        checkpoint_every: steps between checkpoints.
        batch_size: rows a step, of each task; 32 in the paper.
        learning_rate: None takes the paper's: 0.3 for prompts; 0.001, times
            each weight's root mean square, for models.
        decay_steps: the run's last steps, in which the rate falls to 0. None
            in the paper; small models' labels otherwise swing against each
            other from one evaluation to the next.
        step_offset: of `Adafactor`; not positive, and in int32.
        input_length: longer inputs are cut, EOS kept; 512 in the paper.
        target_length: longer targets are refused.
        dropout_rate: in the frozen model while training; the paper's code
            has 0.1, a later study of the same setting reports gains without.
        answer_by: of `TaskEvaluator`, "generate" or "rank".
        evaluation_limit: rows of the validation split to evaluate on.
        split: to evaluate on.
        dtype: of the model; not "bfloat16" in model tuning, whose small
            steps it would lose.
        seed: of the initial prompt and of the data's order.
        data_dir: where TensorFlow Datasets keeps its files.
    """

    task: str | Sequence[str]
    preset: str
    output: str
    method: str = "prompt"
    prompt_length: int = 100
    initial_prompt: str = "class_labels"
    steps: int = 30_000
    evaluate_every: int = 1000
    checkpoint_every: int = 100
    batch_size: int = 32
    learning_rate: float | None = None
    decay_steps: int = 0
    step_offset: int = 0
    input_length: int = 512
    target_length: int = 16
    dropout_rate: float = 0.0
    answer_by: str = "generate"
    evaluation_limit: int | None = None
    split: str = "validation"
    dtype: str = "float32"
    seed: int = 0
    data_dir: str | None = None

    def __post_init__(self) -> None:
        check_integers(
            **{field: (getattr(self, field), 1) for field in _POSITIVE},
            decay_steps=(self.decay_steps, 0),
            seed=(self.seed, 0),
            step_offset=(self.step_offset, -LARGEST),
        )
        if self.evaluation_limit is not None:
            check_integers(evaluation_limit=(self.evaluation_limit, 1))
        lookup("method", self.method, _LEARNING_RATES)
        if not isinstance(self.task, str):
            object.__setattr__(self, "task", tuple(self.task))
        if self.learning_rate is None:
            rate = _LEARNING_RATES[self.method]
            object.__setattr__(self, "learning_rate", rate)
        is_several = not isinstance(self.task, str)
        rules = {
            "task": (
                not is_several or 0 < len(self.task) == len(set(self.task)),
                "must name at least one task, and none twice",
            ),
            "method": (
                not is_several or self.method == "prompt",
                "must be 'prompt' for several tasks; a model is tuned for one",
            ),
            "learning_rate": (self.rate > 0, "must be positive"),
            "dtype": (
                self.method == "prompt" or self.dtype != "bfloat16",
                "must be 'float32' or 'mixed_bfloat16' in model tuning",
            ),
            "dropout_rate": (
                0 <= self.dropout_rate < 1,
                "must be at least 0 and below 1",
            ),
            "decay_steps": (
                self.decay_steps <= self.steps,
                f"must be at most steps={self.steps}",
            ),
            "step_offset": (
                self.step_offset <= 0,
                "must not be positive, as a run's first step is step 1",
            ),
            "answer_by": (
                self.answer_by in ANSWERS,
                f"must be one of {ANSWERS}",
            ),
            "steps": (
                self.steps % min(self.evaluate_every, self.steps) == 0,
                f"must be a multiple of evaluate_every={self.evaluate_every}, "
                "so that the last prompt is evaluated",
            ),
        }
        for field, (is_kept, rule) in rules.items():
            if not is_kept:
                raise ValueError(
                    f"`{field}` {rule}. "
                    f"Received: {field}={getattr(self, field)!r}"
                )

    @property
    def rate(self) -> float:
        """`learning_rate`, given or the method's own."""
        return float(self.learning_rate or 0)

    def make_initial_prompt(self, labels: Sequence[str]) -> InitialPrompt:
        """The closure that `initial_prompt` names.

        Raises:
            ValueError: it is neither a name nor an existing path.
            FileNotFoundError: it looks like a path, and nothing is there.
        """
        name = self.initial_prompt
        if name.startswith(_TEXT):
            return initial_prompts.from_text(name.removeprefix(_TEXT))
        path = Path(name)
        is_path = len(path.parts) > 1 or path.suffix == ".npy"
        if is_path or (path.exists() and name not in INITIAL_PROMPTS):
            return initial_prompts.from_file(path)
        return lookup("initial prompt", name, INITIAL_PROMPTS)(labels)

    def check_output(self) -> Path:
        """The output folder, which may be absent, if this run may have it.

        A run that saved nothing does not hold its folder: whoever corrects
        its settings may have it.

        Raises:
            ValueError: the folder belongs to a run with other settings, or of
                another kind, or to a model.
        """
        folder = Path(self.output)
        path = folder / TUNING
        refuse_other_kind(folder, PRETRAINING)
        if path.is_file():
            may_change = set(_MAY_CHANGE)
            if not self.decay_steps:  # A longer run continues a shorter one.
                may_change.add("steps")
            theirs = with_defaults(TuneConfig, _read(path))
            if _has_saved(folder) or not theirs.keys() >= _NEEDED:
                refuse_other(folder, theirs, self, may_change)
        return folder

    def claim_output(self) -> Path:
        """Makes the output folder and leaves these settings in it.

        Raises:
            ValueError: as `check_output`.
            OSError: it cannot be written.
        """
        folder = self.check_output()
        if (folder / TUNING).is_file() and not _has_saved(folder):
            # Rows of a run that is not gone on with.
            (folder / HISTORY).unlink(missing_ok=True)
        text = json.dumps(as_stored(self), indent=2) + "\n"
        write_file(folder / TUNING, text)
        return folder

    @classmethod
    def of_run(cls, folder: str | Path) -> "TuneConfig":
        """The settings that a run left in its folder.

        Raises:
            FileNotFoundError: the folder holds no run.
            ValueError: its config.json is damaged.
        """
        path = Path(folder) / TUNING
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} holds no run: there is no {TUNING} in it. "
                "Give the output folder of `keras-prompt tune`."
            )
        try:
            return cls(**_read(path))
        except TypeError as error:
            raise ValueError(
                f"{path} is no run's settings: {error}."
            ) from error


def _has_saved(folder: Path) -> bool:
    """Whether a run left what it came to, or something to go on from."""
    return any((folder / name).is_file() for name in (CHECKPOINT, RESULT))


def _read(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}.") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path} is damaged: it holds no settings.")
    return settings
