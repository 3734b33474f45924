"""The recipe of tuning the prompts of several tasks at once."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_prompt import tasks
from keras_prompt.export.request_prompts import TASK_NAME
from keras_prompt.layers.prompt_bank import PromptBank
from keras_prompt.models.prompt_bank_t5 import PromptBankT5
from keras_prompt.tasks.mixture import make_mixture_dataset
from keras_prompt.tasks.task import Task
from keras_prompt.training.bank_evaluator import BankEvaluator, check_names
from keras_prompt.training.config import TuneConfig
from keras_prompt.training.recipe import (
    compile_model,
    data_options,
    evaluation_options,
    fit,
)
from keras_prompt.training.run_folder import PROMPTS
from keras_prompt.training.tune_result import (
    BankResult,
    check_destinations,
    finish_task,
    write_result,
)


def tune_bank(config: TuneConfig, *, verbose: bool = True) -> BankResult:
    """Tunes a prompt for each of several tasks in one fit.

    Each prompt ends as in a run of its own, but for rounding and for what
    dropout leaves out. The folder gets what `tune` leaves, and in place of
    prompt/ a folder prompts/ with each task's best prompt, which
    `export_server(…, prompt_root=…)` serves: super_glue/rte's is
    prompts/super_glue.rte. The same call again continues a run that was
    stopped, however it was stopped.

    Args:
        config: the run, its `task` a sequence of names.
        verbose: whether to print a line a task and evaluation, and a progress
            bar.

    Raises:
        ValueError: as `tune`; or a task's name can be no served prompt's, or
            no column's of history.csv.
        FileNotFoundError: as `tune`.
        KeyboardInterrupt: after saving a checkpoint.
    """
    if isinstance(config.task, str):
        raise ValueError(
            "`task` must be several tasks' names; `tune` takes one. "
            f"Received: task={config.task!r}"
        )
    check_names(config.task)
    root = Path(config.output) / PROMPTS
    folders = _folders(config.task)
    check_destinations(config, [root / name for name in folders.values()])
    chosen = [tasks.get(name, data_dir=config.data_dir) for name in folders]
    model = _model(config, chosen)
    compile_model(config, model)
    train = make_mixture_dataset(
        chosen, "train", model.tokenizer, **data_options(config)
    )
    evaluator = BankEvaluator(
        chosen, verbose=verbose, **evaluation_options(config)
    )
    history = fit(config, model, train, evaluator, verbose=verbose)
    results = {
        task.name: finish_task(
            model,
            root / folders[task.name],
            task,
            evaluator.examples[task.name],
            history.evaluation(model.best[task.name].step, task.name),
            config.seed,
        )
        for task in chosen
    }
    result = BankResult(
        score=float(np.mean([one.score for one in results.values()])),
        steps=int(model.optimizer.iterations.numpy()),
        folder=str(root),
        tasks=results,
    )
    write_result(Path(config.output), result)
    return result


def _model(config: TuneConfig, chosen: Sequence[Task]) -> PromptBankT5:
    initial_prompts = {
        task.name: config.make_initial_prompt(task.labels) for task in chosen
    }
    model = PromptBankT5.from_preset(
        config.preset,
        PromptBank(dict.fromkeys(initial_prompts, config.prompt_length)),
        dtype=config.dtype,
        dropout_rate=config.dropout_rate,
    )
    for name, initial_prompt in initial_prompts.items():
        model.initialize_prompt(name, initial_prompt, config.seed)
    return model


def _folders(names: Sequence[str]) -> dict[str, str]:
    """The folder in prompts/ of each task, a name that a server takes."""
    folders: dict[str, str] = {}
    for name in names:
        folder = re.sub("[^A-Za-z0-9_.-]", ".", name)
        if not re.fullmatch(TASK_NAME, folder) or folder in folders.values():
            raise ValueError(
                "Each task must have a name of its own to be served by, which "
                f"matches {TASK_NAME}. Received: {name!r}, which gives "
                f"{folder!r}, among {list(names)}"
            )
        folders[name] = folder
    return folders
