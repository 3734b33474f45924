"""`keras-prompt evaluate`."""

import argparse
import dataclasses
import json

from keras_prompt.cli.arguments import positive_integer
from keras_prompt.cli.loading import add_model_arguments, load_model
from keras_prompt.cli.progress import progress_bar

EXAMPLE = "keras-prompt evaluate --prompt runs/rte/prompt --method rank"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    add_model_arguments(parser)
    add = parser.add_argument
    add("--task", help="a task's name (the prompt's own)")
    add("--split", default="validation", help="of the task (validation)")
    add("--limit", type=positive_integer, help="rows from the front (all)")
    add("--data-dir", help="of TensorFlow Datasets")
    add("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> None:
    """Evaluates, and prints metrics beside the majority class's.

    Raises:
        ValueError: the task is unknown, or named nowhere.
    """
    from keras_prompt import tasks

    if options.task is not None:
        tasks.get(options.task)  # before TensorFlow takes its seconds
    model, card = load_model(options)
    from keras_prompt.training.evaluator import evaluate_examples

    name = options.task or card.task
    if name is None:
        raise ValueError("The prompt's card names no task; give --task.")
    task = tasks.get(name, data_dir=options.data_dir)
    examples = task.examples(options.split)[: options.limit]
    with progress_bar("rows", len(examples)) as advance:
        found = evaluate_examples(
            model,
            task,
            examples,
            method=options.method,
            batch_size=options.batch_size,
            input_length=options.input_length,
            target_length=options.target_length,
            progress=advance,
        )
    if options.json:
        values = dataclasses.asdict(found)
        del values["outputs"]
        about = {"task": name, "split": options.split, "rows": len(examples)}
        print(json.dumps(about | values))
    else:
        print(f"{name} {options.split} · {found.line()}")
