"""Runs cells of the grid, each once, and reads what came of them."""

import dataclasses
import gc
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from paper_grid import RANDOM, Cell, Grid

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


def prepare_models(grid: Grid, cells: Sequence[Cell], place: Place) -> None:
    """Looks for every cell's model, and makes the random ones.

    Raises:
        FileNotFoundError: one is absent.
        ValueError: one is neither a folder nor a preset.
    """
    from keras_prompt.models.checkpoints import formats, hugging_face
    from keras_prompt.models.t5.presets import find_checkpoint
    from keras_prompt.models.t5.variables import initial_weight, weight_table

    trained = {}
    for cell in cells:
        at = cell.adaptation
        word = next(iter(grid.models[cell.size])) if at == RANDOM else str(at)
        name = _trained_model(grid, cell.size, word, place)
        trained[cell.size, at] = find_checkpoint(name)
    for (size, adaptation), folder in trained.items():
        random = _random_model(size, place)
        if adaptation == RANDOM and not random.is_dir():
            like = formats.read(folder)
            table, rng = weight_table(like.config), np.random.default_rng(0)
            weights = {
                name: initial_weight(name, dimensions, rng)
                for name, dimensions in table.items()
            }
            hugging_face.write(
                random, like.config, weights.__getitem__, like.vocabulary
            )


def model_of(grid: Grid, cell: Cell, place: Place) -> str:
    """The folder of a cell's model, or the preset's name."""
    if cell.adaptation == RANDOM:
        return str(_random_model(cell.size, place))
    return _trained_model(grid, cell.size, str(cell.adaptation), place)


def _random_model(size: str, place: Place) -> Path:
    return place.output / "models" / f"{size}-{RANDOM}"


def _trained_model(grid: Grid, size: str, adaptation: str, place: Place) -> str:
    word = grid.models[size][adaptation]
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
    options = {
        **grid.tune,
        **grid.methods.get(cell.method, {}),
        **about.get("tune", {}),
    }
    data_dir = str(place.output / "data") if "from" in about else None
    preset = model_of(grid, cell, place)
    if cell.method == "zero-shot":
        _zero_shot(cell, place, preset, options, data_dir)
    else:
        _tune(cell, place, preset, options, data_dir)
    # Hundreds of models are made in this process, and models hold cycles.
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
    from keras_prompt.training.evaluation import evaluate_examples

    task = tasks.get(_task_name(cell), data_dir)
    limit = options.get("evaluation_limit")
    examples = task.examples(options.get("split", "validation"))[:limit]
    used = ("answer_by", "batch_size", "input_length", "target_length")
    found = evaluate_examples(
        PlainT5.from_preset(preset, dtype=options.get("dtype", "float32")),
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
