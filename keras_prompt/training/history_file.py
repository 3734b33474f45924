"""A run's `history.csv`: a row an evaluation, the first column its step."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from keras_prompt.atomic_files import write_file

Row = dict[str, str]


def read_rows(path: Path) -> list[Row]:
    """The rows written so far, none if the file is absent.

    Raises:
        ValueError: it is no such file.
    """
    if not path.is_file():
        return []
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        # Not isdigit: a superscript is a digit, too, but no number.
        is_history = all((row.get("step") or "").isdecimal() for row in rows)
    except (csv.Error, UnicodeDecodeError):
        is_history = False
    if not is_history:
        raise ValueError(
            f"{path} is no history of a run: it must have a column of steps, "
            "and commas between columns. Put it back as it was, or remove it: "
            "the run goes on without its former rows."
        )
    return rows


def write_rows(
    path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]
) -> None:
    """Replaces the file in one step.

    Args:
        path: the csv file.
        columns: what it has of each row, "step" first.
        rows: in the order of their steps.

    Raises:
        OSError: it cannot be written; the old one is unharmed.
    """
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, list(columns), extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_file(path, table.getvalue())
