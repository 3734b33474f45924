"""Where a benchmark's files are, and what finished cells left there."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from paper_grid import Cell

from keras_prompt.training.run_folder import RESULT


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


def result_of(cell: Cell, place: Place) -> dict[str, Any] | None:
    """What a finished cell came to; none if it has not finished."""
    path = place.output / cell.folder / RESULT
    return dict(json.loads(path.read_text())) if path.is_file() else None
