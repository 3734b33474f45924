"""Prepares the tasks of the grid, and runs its cells."""

import dataclasses
import gc
import importlib
import json
from pathlib import Path
from typing import Any

from paper_grid import Cell, Grid
from paper_place import Place
from paper_settings import EVALUATION, settings_of, write_zero_shot_settings

from keras_prompt import tasks
from keras_prompt.atomic_files import write_file
from keras_prompt.training.run_folder import RESULT


def prepare_tasks(grid: Grid, names: list[str], place: Place) -> None:
    """Makes tfds' records of official files, and registers tasks of factories.

    Raises:
        FileNotFoundError: files to train on or to evaluate are absent.
        ValueError: they are not the task's.
    """
    from keras_prompt.tasks.prepare import prepare

    for name in names:
        about = grid.tasks[name]
        if "factory" in about:
            module, factory = about["factory"].split(":")
            tasks.register(getattr(importlib.import_module(module), factory)())
        if "from" not in about:
            continue
        folder = place.data / about["from"]
        partial = about.get("partial_files", {})
        done = prepare(
            name,
            folder,
            place.output / "data",
            files={
                split: file
                for split, file in partial.items()
                if (folder / file).is_file()
            },
            allow_missing=True,
        )
        if done.differences:
            print(done)
        for split in ("train", "validation"):
            if split not in done.rows:
                raise FileNotFoundError(
                    f"{folder} lacks the {split} split of {name}. Put the "
                    "official files there, or leave the task out: --task."
                )


def run(grid: Grid, cell: Cell, place: Place) -> None:
    """Runs a cell, or what is left of it; its result.json says that it is done.

    Raises:
        FileNotFoundError: its data or its model is absent.
        ValueError: a setting is wrong.
        KeyboardInterrupt: the run can go on from here.
    """
    settings = settings_of(grid, cell, place)
    if cell.method == "zero-shot":
        _zero_shot(place.output / cell.folder, settings)
    else:
        from keras_prompt.training.config import TuneConfig
        from keras_prompt.training.tune import tune

        tune(TuneConfig(**settings), verbose=False)
    # Hundreds of models are made in this process, and models hold cycles.
    gc.collect()


def _zero_shot(folder: Path, settings: dict[str, Any]) -> None:
    from keras_prompt.models.plain_t5 import PlainT5
    from keras_prompt.training.evaluation import evaluate_examples

    task = tasks.get(settings["task"], settings["data_dir"])
    model = PlainT5.from_preset(settings["preset"], dtype=settings["dtype"])
    found = evaluate_examples(
        model,
        task,
        task.examples(settings["split"])[: settings["evaluation_limit"]],
        **{name: settings[name] for name in EVALUATION if name in settings},
    )
    result = dataclasses.asdict(found) | {"best_step": 0}
    del result["outputs"]
    write_zero_shot_settings(folder, settings, model.base_fingerprint())
    write_file(folder / RESULT, json.dumps(result, indent=2) + "\n")
