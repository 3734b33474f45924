"""The prompt of a tuning run, whether the run has finished or not.

Letters: P prompt length, D d_model.
"""

import contextlib
import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from keras_prompt import tasks
from keras_prompt.export.prompt import make_card
from keras_prompt.layers.prompt_bank import PromptBank
from keras_prompt.models.prompt_bank_t5 import PromptBankT5
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.t5.presets import find_checkpoint
from keras_prompt.prompt_files import PromptCard, read_prompt
from keras_prompt.registry import lookup
from keras_prompt.training.checkpoint import PromptCheckpoint
from keras_prompt.training.config import TuneConfig
from keras_prompt.training.history import History
from keras_prompt.training.recipe import compile_model
from keras_prompt.training.run_folder import HISTORY, MODEL, PROMPT, PROMPTS
from keras_prompt.training.tune_result import task_metrics
from keras_prompt.types import FloatArray


class RunPrompt(NamedTuple):
    """A prompt, float32 (P, D), and what is known of it."""

    prompt: FloatArray
    card: PromptCard


def read_run_prompt(
    folder: Path,
    task: str | None = None,
    *,
    last: bool = False,
    preset: str | None = None,
) -> RunPrompt:
    """Reads the prompt in a run's checkpoint.

    Args:
        folder: the output folder of the run.
        task: whose prompt; needed where the run has several tasks.
        last: take the present prompt instead of the best one.
        preset: where the run's model is, if it is there no more.

    Raises:
        FileNotFoundError: the folder holds no run, or its model is absent.
        ValueError: the run tuned a whole model, has no checkpoint yet or a
            damaged one, no prompt of that task, or another model.

    Warns:
        UserWarning: nothing here knows the task's label words.
    """
    config = TuneConfig.of_run(folder)
    if config.method == "model":
        raise ValueError(
            f"{folder} tuned a whole model, not a prompt; a finished run has "
            f"it in {folder / MODEL}."
        )
    task = _chosen(folder, task, config.task)
    if preset is not None:
        config = dataclasses.replace(config, preset=preset)
    try:
        find_checkpoint(config.preset)
    except (FileNotFoundError, ValueError) as error:
        raise FileNotFoundError(
            f"The model that {folder} was tuned on is not here: {error} If it "
            "lies elsewhere now, say with `preset` where."
        ) from error
    model = _model(config)
    compile_model(config, model)
    model.optimizer.build(model.trainable_variables)
    steps = PromptCheckpoint(folder).restore(model)
    if not steps:
        raise ValueError(f"{folder} has no checkpoint yet.")
    name = model.prompt_name(task)
    best = None if last else model.best_prompts.get(name)
    prompt = best.prompt if best else model.prompt_weights[name].numpy()
    column = task if isinstance(model, PromptBankT5) else None
    card = make_card(
        model,
        prompt,
        steps=best.step if best else steps,
        seed=config.seed,
        score=best.score if best else None,
        task=task,
        label_words=_label_words(folder, task),
        metrics=_metrics(folder, best.step, column) if best else None,
    )
    return RunPrompt(prompt, card)


def _chosen(folder: Path, task: str | None, of_run: str | Sequence[str]) -> str:
    if isinstance(of_run, str):
        of_run = [of_run]
    elif task is None:
        raise ValueError(
            f"{folder} has prompts of several tasks; choose one with "
            f"`task`: {', '.join(of_run)}."
        )
    return lookup("task", task or of_run[0], {name: name for name in of_run})


def _label_words(folder: Path, task: str) -> tuple[str, ...]:
    """The task's, which its program may have registered for the run alone."""
    for place in (folder / PROMPT, *(folder / PROMPTS).glob("*")):
        with contextlib.suppress(FileNotFoundError, ValueError):
            card = read_prompt(place).card  # of the run, once it had finished
            if card.task == task:
                return card.label_words
    try:
        return tasks.get(task).label_words
    except ValueError:
        warnings.warn(
            f"No task '{task}' is registered here, and {folder} has not "
            "finished: the prompt's card has no label words.",
            stacklevel=3,
        )
        return ()


def _metrics(folder: Path, step: int, column: str | None) -> dict[str, float]:
    """Of the evaluation after a step, if history.csv still has it."""
    try:
        found = History(folder / HISTORY).evaluation(step, column)
    except ValueError:
        return {}
    return task_metrics(found)


def _model(config: TuneConfig) -> PromptBankT5 | PromptTunedT5:
    if isinstance(config.task, str):
        return PromptTunedT5.from_preset(
            config.preset,
            config.prompt_length,
            dropout_rate=config.dropout_rate,
        )
    bank = PromptBank(dict.fromkeys(config.task, config.prompt_length))
    return PromptBankT5.from_preset(
        config.preset, bank, dropout_rate=config.dropout_rate
    )
