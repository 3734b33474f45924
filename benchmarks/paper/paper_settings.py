"""What a cell is run with, and whether a finished one was run with that."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paper_grid import Cell, Grid
from paper_models import fingerprint_of, model_of
from paper_place import Place, result_of

from keras_prompt.atomic_files import write_file
from keras_prompt.training.run_settings import TUNING, with_defaults

# Of `evaluate_examples`, for zero-shot.
EVALUATION = ("answer_by", "batch_size", "input_length", "target_length")
_MODEL = "the model's fingerprint"
# Where things lie, the model among them, whose weights are compared, and how
# often a run is saved, changes nothing it comes to.
_PLACES = ("preset", "output", "data_dir", "checkpoint_every")


def settings_of(grid: Grid, cell: Cell, place: Place) -> dict[str, Any]:
    """A cell's settings: those of a `TuneConfig`, or what zero-shot takes.

    Raises:
        ValueError: one is wrong, or there is no such setting.
    """
    from keras_prompt.registry import lookup
    from keras_prompt.training.config import TuneConfig

    about = grid.tasks[cell.task]
    settings = {
        **grid.tune,
        **grid.methods.get(cell.method, {}),
        **about.get("tune", {}),
        "task": cell.task + "+sentinel" * cell.sentinel,
        "preset": model_of(grid, cell, place),
        "data_dir": str(place.output / "data") if "from" in about else None,
    }
    known = {field.name: field for field in dataclasses.fields(TuneConfig)}
    for name in settings:
        lookup("setting", name, known)
    if cell.method == "zero-shot":
        defaults = ("split", "evaluation_limit", "dtype")
        used = (*EVALUATION, *defaults, "task", "preset", "data_dir")
        settings = {n: known[n].default for n in defaults} | settings
        return {name: settings[name] for name in used if name in settings}
    if cell.method == "prompt":
        settings["prompt_length"] = cell.prompt_length
        settings["initial_prompt"] = cell.initial_prompt
    settings["output"] = str(place.output / cell.folder)
    config = TuneConfig(**settings, method=cell.method, seed=cell.seed)
    return dataclasses.asdict(config)


def write_zero_shot_settings(
    folder: Path, settings: dict[str, Any], fingerprint: str
) -> None:
    """Leaves them beside the result, as `tune` leaves its own."""
    text = json.dumps({**settings, _MODEL: fingerprint}, indent=2) + "\n"
    write_file(folder / TUNING, text)


def refuse_stale(grid: Grid, cells: Sequence[Cell], place: Place) -> None:
    """Refuses cells that were run with other settings or another model.

    A model that is not there now is not compared, and no task's data are.

    Raises:
        ValueError: there are such cells, the first of which it names; or a
            setting is wrong.
    """
    fingerprints: dict[tuple[str, int | str], str | None] = {}
    stale: list[str] = []
    for cell in cells:
        settings = settings_of(grid, cell, place)
        if result_of(cell, place) is None:
            _refuse_other_run(cell, settings)
            continue
        model = cell.size, cell.adaptation
        if model not in fingerprints:
            fingerprints[model] = fingerprint_of(grid, cell, place)
        folder = place.output / cell.folder
        now, then = json.loads(json.dumps(settings)), _read(folder)
        now[_MODEL] = fingerprints[model] or then.get(_MODEL)
        if not then:
            stale.append(
                f"{folder} does not say what it was run with. Remove {folder}"
            )
            continue
        for name in (n for n in {**now, **then} if n not in _PLACES):
            if then.get(name) != now.get(name):
                stale.append(
                    f"{folder} was run with {name} {then.get(name)!r}; it "
                    f"would now be run with {now.get(name)!r}. Remove {folder}"
                )
                break
    if stale:
        more = f", and {len(stale) - 1:,} more like it" if stale[1:] else ""
        raise ValueError(f"{stale[0]}{more}, or take another --output.")


def _refuse_other_run(cell: Cell, settings: dict[str, Any]) -> None:
    """Of a cell that was begun, as `tune` will."""
    from keras_prompt.training.config import TuneConfig

    if cell.method != "zero-shot":
        TuneConfig(**settings).check_output()


def _read(folder: Path) -> dict[str, Any]:
    """The settings of a finished cell, the model's fingerprint with them.

    Those of `tune` have it in their checkpoint.
    """
    from keras_prompt.models.checkpoints.checkpoint import read_json
    from keras_prompt.training.checkpoint import base_of
    from keras_prompt.training.config import TuneConfig

    path = folder / TUNING
    if not path.is_file():
        return {}
    found, base = read_json(path), base_of(folder)
    if base is None:
        return found
    return {**with_defaults(TuneConfig, found), _MODEL: base}
