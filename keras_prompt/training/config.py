"""What a prompt-tuning run is asked to do; defaults are the paper's."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from keras_prompt import initial_prompts
from keras_prompt.registry import lookup

INITIAL_PROMPTS: Mapping[
    str, Callable[[Sequence[str]], initial_prompts.InitialPrompt]
] = MappingProxyType(
    {
        "class_labels": initial_prompts.class_labels,
        "sampled_vocab": lambda labels: initial_prompts.sampled_vocab(),
        "random_uniform": lambda labels: initial_prompts.random_uniform(),
    }
)
_POSITIVE = (
    "prompt_length",
    "steps",
    "evaluate_every",
    "batch_size",
    "input_length",
    "target_length",
)
# A longer run continues a shorter one; where it lies does not matter.
_MAY_CHANGE = frozenset({"steps", "output"})


@dataclasses.dataclass(frozen=True)
class TuneConfig:
    """Settings of `tune`.

    Attributes:
        task: name of a registered task.
        preset: model name or checkpoint folder.
        output: folder of the run.
        prompt_length: P; 100 in the paper.
        initial_prompt: "class_labels", "sampled_vocab", "random_uniform", or
            the path of a `.npy` file or prompt folder.
        steps: optimizer steps; 30,000 in the paper.
        evaluate_every: steps between evaluations; 1,000 in its code.
        checkpoint_every: steps between checkpoints.
        batch_size: rows a step; 32 in the paper.
        learning_rate: constant; 0.3 in the paper.
        step_offset: of `Adafactor`.
        input_length: longer inputs are cut, EOS kept; 512 in the paper.
        target_length: longer targets are refused.
        dropout_rate: in the frozen model while training; the paper's code
            has 0.1, a later study of the same setting reports gains without.
        method: of `TaskEvaluator`, "generate" or "rank".
        evaluation_limit: rows of the validation split to evaluate on.
        split: to evaluate on.
        dtype: of the model.
        seed: of the initial prompt and of the data's order.
        data_dir: where TensorFlow Datasets keeps its files.
    """

    task: str
    preset: str
    output: str
    prompt_length: int = 100
    initial_prompt: str = "class_labels"
    steps: int = 30_000
    evaluate_every: int = 1000
    checkpoint_every: int = 100
    batch_size: int = 32
    learning_rate: float = 0.3
    step_offset: int = 0
    input_length: int = 512
    target_length: int = 16
    dropout_rate: float = 0.0
    method: str = "generate"
    evaluation_limit: int | None = None
    split: str = "validation"
    dtype: str = "float32"
    seed: int = 0
    data_dir: str | None = None

    def __post_init__(self) -> None:
        for field in (*_POSITIVE, "checkpoint_every"):
            value = getattr(self, field)
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"`{field}` must be a positive integer. "
                    f"Received: {field}={value!r}"
                )
        if self.learning_rate <= 0:
            raise ValueError(
                "`learning_rate` must be positive. "
                f"Received: learning_rate={self.learning_rate!r}"
            )

    def make_initial_prompt(
        self, labels: Sequence[str]
    ) -> initial_prompts.InitialPrompt:
        """The closure that `initial_prompt` names.

        Raises:
            ValueError: it is neither a name nor an existing path.
        """
        if Path(self.initial_prompt).exists():
            return initial_prompts.from_file(self.initial_prompt)
        make = lookup("initial prompt", self.initial_prompt, INITIAL_PROMPTS)
        return make(labels)

    def claim_output(self) -> Path:
        """Makes the output folder and leaves these settings in it.

        Raises:
            ValueError: the folder belongs to a run with other settings.
            OSError: it cannot be written.
        """
        folder = Path(self.output)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "config.json"
        mine = dataclasses.asdict(self)
        if path.is_file():
            theirs: dict[str, Any] = json.loads(path.read_text())
            for field in sorted(mine.keys() - _MAY_CHANGE):
                if theirs.get(field) != mine[field]:
                    raise ValueError(
                        f"{folder} holds a run with "
                        f"{field}={theirs.get(field)!r}; this one has "
                        f"{field}={mine[field]!r}. Choose another output "
                        "folder, or the same settings."
                    )
        path.write_text(json.dumps(mine, indent=2) + "\n")
        return folder

    @classmethod
    def of_run(cls, folder: str | Path) -> "TuneConfig":
        """The settings that a run left in its folder.

        Raises:
            FileNotFoundError: the folder holds no run.
        """
        path = Path(folder) / "config.json"
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} holds no run: there is no config.json in it. "
                "Give the output folder of `keras-prompt tune`."
            )
        return cls(**json.loads(path.read_text()))
