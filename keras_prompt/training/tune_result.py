"""What a tuning run came to."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_prompt.atomic_files import write_file
from keras_prompt.export.prompt import export_prompt, folder_bytes
from keras_prompt.models.checkpoints import hugging_face
from keras_prompt.models.plain_t5 import PlainT5
from keras_prompt.models.prompted_t5 import PromptedT5
from keras_prompt.prompt_files import check_place
from keras_prompt.strict_json import strict_json
from keras_prompt.tasks.task import SUMMARIES, Example, Task
from keras_prompt.training.checkpoint import steps_of
from keras_prompt.training.config import TuneConfig
from keras_prompt.training.run_folder import RESULT
from keras_prompt.training.run_settings import refuse_fewer_steps


@dataclasses.dataclass(frozen=True)
class TuneResult:
    """What tuning a prompt or a model for a task came to.

    Attributes:
        task: its name.
        method: "prompt" or "model", what was tuned.
        score: of the best one on the evaluation split, which chose it.
        best_step: optimizer steps behind it.
        steps: of the run.
        metrics: of the best one; the score is one of them, or their mean.
        majority: the metrics of always giving the most frequent target.
        illegal_share: of its outputs that are no label, 0 to 1.
        folder: of the best prompt, or of the best model, which `from_preset`
            takes.
        folder_bytes: of that folder.
    """

    task: str
    method: str
    score: float
    best_step: int
    steps: int
    metrics: dict[str, float]
    majority: dict[str, float]
    illegal_share: float
    folder: str
    folder_bytes: int


@dataclasses.dataclass(frozen=True)
class BankResult:
    """What tuning the prompts of several tasks together came to.

    Attributes:
        score: the mean of the tasks' best scores.
        steps: of the run.
        folder: that has each task's best prompt in a folder of its own, the
            `prompt_root` of `export_server`.
        tasks: each task's own result.
    """

    score: float
    steps: int
    folder: str
    tasks: dict[str, TuneResult]


def check_destinations(config: TuneConfig, folders: Iterable[Path]) -> None:
    """Refuses, before any step is taken, what `finish_task` could not write.

    Args:
        config: the run.
        folders: for `finish_task` to make, one a task.

    Raises:
        ValueError: the run's folder holds a run with other settings, or one
            that has done more steps; or one of
            `folders` holds something else than a prompt or, in model tuning,
            a model; or a file is where a folder has to be.
    """
    done = steps_of(config.check_output())
    refuse_fewer_steps(config.output, done, config.steps)
    for folder in folders:
        above = next(path for path in folder.parents if path.exists())
        if not above.is_dir():
            raise ValueError(
                f"{above} is a file; {folder} cannot be made. Choose another "
                "output folder."
            )
        if config.method == "prompt":
            check_place(folder.resolve())
        else:
            hugging_face.check_place(folder)


def finish_task(
    model: PromptedT5,
    folder: Path,
    task: Task,
    examples: Sequence[Example],
    found: Mapping[str, float],
    seed: int,
) -> TuneResult:
    """Exports what was best for a task, and says what it came to.

    Args:
        model: after its last step.
        folder: to make, of the best prompt or the best model.
        task: the task.
        examples: rows that it was evaluated on.
        found: what `History.evaluation` has of the best one's step.
        seed: of the run.

    Returns:
        What it came to, of the best prompt or model.

    Raises:
        ValueError: the folder holds something else than a prompt, or no
            prompt or model was finite when it was evaluated.
        OSError: it cannot be written; nothing is left behind.
    """
    weights = [model.best_prompts[name] for name in model.weights_of(task.name)]
    best = weights[0]
    if not all(np.isfinite(weight.prompt).all() for weight in weights):
        raise ValueError(
            f"Training diverged on task '{task.name}': what learns was not "
            "finite at any evaluation. Take a smaller `learning_rate` and "
            "another output folder."
        )
    metrics = task_metrics(found)
    if isinstance(model, PlainT5):
        hugging_face.write(
            folder,
            model.backbone.config,
            model.best_weight,
            model.tokenizer.model_proto,
        )
    else:
        export_prompt(
            model,
            folder,
            prompt=best.prompt,
            task=task.name,
            label_words=task.label_words,
            steps=best.step,
            seed=seed,
            score=best.score,
            metrics=metrics,
        )
    return TuneResult(
        task=task.name,
        method="model" if isinstance(model, PlainT5) else "prompt",
        score=best.score,
        best_step=best.step,
        steps=int(model.optimizer.iterations.numpy()),
        metrics=metrics,
        majority=dict(task.majority(examples) or {}),
        illegal_share=found["illegal_share"],
        folder=str(folder),
        folder_bytes=folder_bytes(folder),
    )


def task_metrics(found: Mapping[str, float]) -> dict[str, float]:
    """The task's own among what `History.evaluation` has of a step."""
    return {name: found[name] for name in found if name not in SUMMARIES}


def write_result(folder: Path, result: TuneResult | BankResult) -> None:
    """Leaves what a run came to in the run's folder."""
    text = strict_json(dataclasses.asdict(result), indent=2) + "\n"
    write_file(folder / RESULT, text)
