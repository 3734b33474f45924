"""PEFT's adapter folders: adapter_config.json and adapter_model.safetensors.

Letters: P prompt length, D d_model.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from keras_prompt.atomic_files import check_replaceable, new_folder
from keras_prompt.types import FloatArray

CONFIG, WEIGHTS, PICKLED = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
)
_KEY = "prompt_embeddings"
_SIZES = ("num_virtual_tokens", "num_transformer_submodules", "token_dim")
_REQUIRED = {"peft_type": "PROMPT_TUNING", "task_type": "SEQ_2_SEQ_LM"}


def recognizes(path: Path) -> bool:
    """Whether the folder has an adapter's configuration or weights."""
    return any((path / name).is_file() for name in (CONFIG, WEIGHTS, PICKLED))


def read(folder: Path) -> FloatArray:
    """An adapter's prompt, (P, D).

    PEFT makes a table for encoder and decoder of a T5, 2 * P rows, and puts
    only the first P before the encoder's input; the others are never used.

    Raises:
        FileNotFoundError: a file is absent.
        ValueError: the adapter is of another method or kind of model, is a
            pickle, is truncated, or its files do not fit together.
    """
    if (folder / PICKLED).is_file() and not (folder / WEIGHTS).is_file():
        raise ValueError(
            f"{folder / PICKLED} is a pickle, which can run code when it is "
            f"read. Load the adapter with PEFT and save it again, which "
            f"writes {WEIGHTS}: `PeftModel.from_pretrained(base, "
            f"{str(folder)!r}).save_pretrained({str(folder)!r})`."
        )
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} has no {name}; a PEFT adapter is {CONFIG} and "
                f"{WEIGHTS}."
            )
    length, copies, width = _sizes(folder / CONFIG)
    table = _table(folder / WEIGHTS)
    if table.shape != (length * copies, width):
        raise ValueError(
            f"{folder / WEIGHTS} holds {table.shape}, but {CONFIG} says "
            f"({copies} * {length}, {width}). Do both files belong together?"
        )
    return table[:length]


def write(folder: str | Path, prompt: FloatArray) -> int:
    """Writes an adapter that `peft.PeftModel.from_pretrained` loads.

    Its table has P rows (`num_transformer_submodules` 1): PEFT uses no others.
    The base is left to the caller, who has it in hand.

    Args:
        folder: made; one that is empty or holds nothing but an adapter is
            replaced, in one step.
        prompt: float32 (P, D).

    Returns:
        Bytes of both files.

    Raises:
        ValueError: the folder holds something else.
        OSError: it cannot be written; nothing is left behind.
    """
    folder = Path(folder)
    check_place(folder)
    prompt_length, d_model = prompt.shape
    config = {
        **_REQUIRED,
        "base_model_name_or_path": None,
        "inference_mode": True,
        "num_transformer_submodules": 1,
        "num_virtual_tokens": prompt_length,
        "prompt_tuning_init": "RANDOM",
        "token_dim": d_model,
    }
    table = {_KEY: np.ascontiguousarray(prompt, np.float32)}
    try:
        with new_folder(folder) as partial:
            (partial / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
            # `save_file` would leave a file that only its owner may read.
            content = safetensors.numpy.save(table, metadata={"format": "pt"})
            (partial / WEIGHTS).write_bytes(content)
    except OSError as error:
        raise OSError(
            f"The adapter cannot be written to {folder}: "
            f"{error.strerror or error}."
        ) from error
    return sum((folder / name).stat().st_size for name in (CONFIG, WEIGHTS))


def check_place(folder: Path) -> None:
    """Refuses a place where an adapter may not be written.

    Raises:
        ValueError: the folder holds something else.
    """
    names = "|".join(map(re.escape, (CONFIG, WEIGHTS)))
    check_replaceable(folder, "adapter", CONFIG, names)


def _sizes(path: Path) -> tuple[int, int, int]:
    """P, how often the table holds P rows, and D."""
    try:
        config: Mapping[str, Any] = json.loads(path.read_text())
        found = {name: config.get(name) for name in _REQUIRED}
    except (ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is no adapter's settings: {error}.") from None
    for name, value in _REQUIRED.items():
        if found[name] != value:
            raise ValueError(
                f"{path} must have `{name}` {value!r}: a prompt for a T5. "
                f"Received: {found[name]!r}"
            )
    sizes = [_positive(path, config, name) for name in _SIZES]
    if sizes[1] > 2:
        raise ValueError(
            f"{path} must have `num_transformer_submodules` 1 or 2, encoder "
            f"or encoder and decoder. Received: {sizes[1]}"
        )
    return sizes[0], sizes[1], sizes[2]


def _positive(path: Path, config: Mapping[str, Any], name: str) -> int:
    size = config.get(name)
    if type(size) is not int or size < 1:
        raise ValueError(
            f"{path} must have a positive integer `{name}`. Received: {size!r}"
        )
    return size


def _table(path: Path) -> FloatArray:
    try:
        tensors = safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is not a complete safetensors file ({error}). "
            "Copy or download it again."
        ) from error
    if set(tensors) != {_KEY}:
        raise ValueError(
            f"{path} must hold '{_KEY}' and nothing else. "
            f"Received: {sorted(tensors)}"
        )
    return tensors[_KEY]
