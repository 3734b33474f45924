"""Runs cells of the grid, each once, and reads what came of them."""

import dataclasses
import gc
import importlib
import json
from pathlib import Path
from typing import Any

from paper_grid import Cell, Grid

from keras_prompt import tasks
from keras_prompt.atomic_files import write_file

_RESULT = "result.json"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a benchmark's files are.

    Attributes:
        output: gets a folder for each cell, and data/ for prepared data sets.
        data: the official files of the tasks.
        models: relative model folders are looked for here.
    """

    output: Path
    data: Path
    models: Path


def prepare_tasks(grid: Grid, names: list[str], place: Place) -> None:
    """Makes tfds' records of official files, and registers tasks of factories.

    Raises:
        FileNotFoundError: files are absent.
        ValueError: they are not the task's.
    """
    from keras_prompt.tasks.prepare import prepare

    for name in names:
        about = grid.tasks[name]
        if "factory" in about:
            module, factory = about["factory"].split(":")
            tasks.register(getattr(importlib.import_module(module), factory)())
        if "from" in about:
            done = prepare(
                name,
                place.data / about["from"],
                place.output / "data",
                files=about.get("files"),
                allow_missing=True,
            )
            if done.differences:
                print(done)


def model_of(grid: Grid, cell: Cell, place: Place) -> str:
    """The folder of a cell's model, or the preset's name."""
    word = grid.models[cell.size][str(cell.adaptation)]
    folder = place.models / word
    return str(folder) if folder.is_dir() else word


def result_of(cell: Cell, place: Place) -> dict[str, Any] | None:
    """What a finished cell came to; none if it has not finished."""
    path = place.output / cell.folder / _RESULT
    return dict(json.loads(path.read_text())) if path.is_file() else None


def run(grid: Grid, cell: Cell, place: Place) -> None:
    """Runs a cell, or what is left of it; its result.json says that it is done.

    Raises:
        FileNotFoundError: its data or its model is absent.
        ValueError: a setting is wrong.
        KeyboardInterrupt: the run can go on from here.
    """
    about = grid.tasks[cell.task]
    options = {**grid.tune, **about.get("tune", {})}
    data_dir = str(place.output / "data") if "from" in about else None
    preset = model_of(grid, cell, place)
    if cell.method == "zero-shot":
        _zero_shot(cell, place, preset, options, data_dir)
    else:
        _tune(cell, place, preset, options, data_dir)
    # Hundreds of models are made in this process, and models hold cycles.
    # (Keras' `clear_session` would take the vocabularies of others with it.)
    gc.collect()


def _tune(
    cell: Cell,
    place: Place,
    preset: str,
    options: dict[str, Any],
    data_dir: str | None,
) -> None:
    from keras_prompt.training.config import TuneConfig
    from keras_prompt.training.tune import tune

    if cell.method == "prompt":
        options = {
            **options,
            "prompt_length": cell.prompt_length,
            "initial_prompt": cell.initial_prompt,
        }
    config = TuneConfig(
        task=_task_name(cell),
        preset=preset,
        output=str(place.output / cell.folder),
        method=cell.method,
        seed=cell.seed,
        data_dir=data_dir,
        **options,
    )
    tune(config, verbose=False)


def _zero_shot(
    cell: Cell,
    place: Place,
    preset: str,
    options: dict[str, Any],
    data_dir: str | None,
) -> None:
    from keras_prompt.models.plain_t5 import PlainT5
    from keras_prompt.training.evaluator import evaluate_examples

    task = tasks.get(_task_name(cell), data_dir)
    limit = options.get("evaluation_limit")
    examples = task.examples(options.get("split", "validation"))[:limit]
    used = ("answer_by", "batch_size", "input_length", "target_length")
    found = evaluate_examples(
        PlainT5.from_preset(preset),
        task,
        examples,
        **{name: options[name] for name in used if name in options},
    )
    result = dataclasses.asdict(found) | {"best_step": 0}
    del result["outputs"]
    text = json.dumps(result, indent=2) + "\n"
    write_file(place.output / cell.folder / _RESULT, text)


def _task_name(cell: Cell) -> str:
    return cell.task + "+sentinel" * cell.sentinel
