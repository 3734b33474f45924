"""Opens a run's checkpoint, of prompts or of a whole model being trained."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors


@contextlib.contextmanager
def open_checkpoint(path: Path) -> Iterator[tuple[dict[str, Any], Any]]:
    """The state that lies beside the arrays, and the file to read them from.

    What is missing or of the wrong kind within the `with` counts as damage.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        with safetensors.safe_open(path, "numpy") as file:
            yield json.loads((file.metadata() or {})["state"]), file
    except (
        safetensors.SafetensorError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"{path} is not a complete checkpoint ({error}). "
            "Remove it to start again."
        ) from error
