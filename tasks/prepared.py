"""A prepared data set: the card beside tfds' own files, and damage to them."""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_prompt.tasks.official_files import OFFICIAL_FILES

_CARD = "keras_prompt.json"
# What tfds and TensorFlow write before and after the reason of an error.
_AROUND = re.compile(r"^.*\}(?:\}|\":) | \[Op:.*$", re.DOTALL)


def write_card(folder: Path, files: Mapping[str, Path]) -> None:
    """Writes which files `folder` was made of, as `describe` has them."""
    (folder / _CARD).write_text(json.dumps(describe(files), indent=2))


def read_card(folder: Path) -> dict[str, Any] | None:
    """What `write_card` wrote; None where tfds itself made the data set.

    Raises:
        ValueError: it is damaged.
    """
    path = folder / _CARD
    try:
        return json.loads(path.read_text()) if path.is_file() else None
    except ValueError as error:
        raise damaged(folder, ValueError(f"{_CARD}: {error}")) from error


def describe(files: Mapping[str, Path]) -> dict[str, Any]:
    """The name and the SHA-256 of each file.

    Args:
        files: by split; and by its official name what every split needs.
    """
    return {
        name: {
            "file": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for name, path in files.items()
    }


def origin(folder: Path, split: str) -> str:
    """The split's file as the end of a message; nothing for tfds' own."""
    card = read_card(folder) or {}
    return f", prepared from {card[split]['file']}" if split in card else ""


def advice(tfds_name: str) -> str:
    """How to prepare a data set from files; nothing for one not known here."""
    for task_name in OFFICIAL_FILES:
        # super_glue/wsc is read from super_glue/wsc.fixed, squad from
        # squad/v1.1; no task's name is the beginning of another's.
        if tfds_name.startswith(task_name):
            return (
                " With its official files in DIR, run: "
                f"keras-prompt tasks prepare {task_name} --from DIR"
            )
    return ""


def reason(error: Exception) -> str:
    """What an error of tfds or TensorFlow says, in a line."""
    words = " ".join(_AROUND.sub("", str(error)).split())
    return words[:200].rstrip(".")


def damaged(folder: Path, error: Exception) -> ValueError:
    """The error for a data set that cannot be read as it was written."""
    return ValueError(
        f"{folder} is damaged ({reason(error)}). Remove it and prepare it anew."
    )


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """To read a data set's rows in, while it may turn out to be damaged.

    Raises:
        ValueError: its records are cut off, changed or gone.
    """
    from tensorflow import errors

    try:
        yield
    except (
        errors.DataLossError,
        errors.FailedPreconditionError,  # another number of rows
        errors.NotFoundError,
    ) as error:  # a preprocessor's own mistake is none of these
        raise damaged(folder, error) from error
