"""`keras-prompt evaluate`."""

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from keras_prompt.cli.arguments import positive_integer
from keras_prompt.cli.loading import (
    add_model_arguments,
    load_ensemble,
    load_model,
    target_length,
)
from keras_prompt.cli.progress import progress_bar
from keras_prompt.strict_json import strict_json

if TYPE_CHECKING:
    from keras_prompt.prompt_files import PromptCard
    from keras_prompt.tasks.task import Example, Task
    from keras_prompt.training.evaluation import Evaluation

EXAMPLE = "keras-prompt evaluate --prompt runs/rte/prompt --answer-by rank"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    add_model_arguments(parser, takes_ensemble=True)
    add = parser.add_argument
    add("--task", help="a task's name (the prompt's own)")
    add("--split", default="validation", help="of the task (validation)")
    add("--limit", type=positive_integer, help="rows from the front (all)")
    add("--data-dir", help="of TensorFlow Datasets")
    add("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> None:
    """Evaluates, and prints metrics beside the majority class's.

    Raises:
        ValueError: the task is unknown, or named nowhere; or an option
            would change nothing.
    """
    from keras_prompt import tasks

    settings = _settings(options)
    if options.task is not None:
        tasks.get(options.task)  # before TensorFlow takes its seconds
    elif options.prompt is None and options.ensemble is None:
        raise ValueError("Give --task: without --prompt, no card names it.")
    if options.ensemble is None:
        _evaluate_prompt(options, settings)
    else:
        _evaluate_ensemble(options, settings)


def _evaluate_prompt(
    options: argparse.Namespace, settings: dict[str, Any]
) -> None:
    model, card = load_model(options)
    from keras_prompt.training.evaluation import evaluate_examples

    task, examples, about = _rows(options, card)
    with progress_bar("rows", len(examples)) as advance:
        found = evaluate_examples(
            model, task, examples, **settings, progress=advance
        )
    if options.json:
        print(strict_json(about | _values(found)))
    else:
        print(f"{task.name} {options.split} · {found.line()}")


def _evaluate_ensemble(
    options: argparse.Namespace, settings: dict[str, Any]
) -> None:
    """Prints each prompt, then what the paper's Table 3 has."""
    ensemble, card = load_ensemble(options)
    from keras_prompt.training.ensemble import evaluate_ensemble

    task, examples, about = _rows(options, card)
    with progress_bar("rows", len(examples)) as advance:
        found = evaluate_ensemble(
            ensemble, task, examples, **settings, progress=advance
        )
    if options.json:
        values = {
            "prompts": {n: _values(one) for n, one in found.prompts.items()},
            "average": found.average,
            "best": found.best,
            "vote": _values(found.vote),
            "likelihood": found.likelihood and _values(found.likelihood),
        }
        print(strict_json(about | values))
        return
    scores = {name: one.score for name, one in found.prompts.items()}
    scores |= {"average": found.average, "best": found.best}
    scores["majority vote"] = found.vote.score
    if found.likelihood is not None:
        scores["summed log-likelihood"] = found.likelihood.score
    print(f"{task.name} {options.split} · {len(examples):,} rows · score")
    width = max(map(len, scores))
    for name, score in scores.items():
        print(f"{name:{width}}  {score:5.1f}")


def _rows(
    options: argparse.Namespace, card: "PromptCard | None"
) -> "tuple[Task, list[Example], dict[str, Any]]":
    """The task, its rows, and what to say of them."""
    from keras_prompt import tasks

    name = options.task or (card.task if card else None)
    if name is None:
        raise ValueError("The prompt's card names no task; give --task.")
    task = tasks.get(name, data_dir=options.data_dir)
    examples = task.examples(options.split)[: options.limit]
    about = {"task": name, "split": options.split, "rows": len(examples)}
    return task, examples, about


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "answer_by": options.answer_by,
        "batch_size": options.batch_size,
        "input_length": options.input_length,
        "target_length": target_length(options),
    }


def _values(found: "Evaluation") -> dict[str, Any]:
    values = dataclasses.asdict(found)
    del values["outputs"]
    return values
