"""The table of formats a prompt is read from, and the one reader of them all.

Letters: P prompt length, D d_model.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import ml_dtypes
import numpy as np

from keras_prompt import prompt_files
from keras_prompt.models.checkpoints import t5x
from keras_prompt.prompt_files import PromptCard
from keras_prompt.prompt_formats import npy, peft
from keras_prompt.types import FloatArray

# Names that torch and pickle use; none is ever unpickled.
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle")


class Writer(NamedTuple):
    """How a prompt gets to a place.

    Attributes:
        check_place: refuses a place where it may not be written.
        write: the prompt, float32 (P, D), and its card, which is made only
            where the format has one; returns bytes.
    """

    check_place: Callable[[Path], None]
    write: Callable[[Path, FloatArray, Callable[[], PromptCard]], int]


class Format(NamedTuple):
    """One row of the table.

    Attributes:
        description: for a person.
        recognizes: whether a path looks like it, from names and first bytes.
        read: the array, and the card where the format has one.
        writer: of the same format; none of one that is only read.
    """

    description: str
    recognizes: Callable[[Path], bool]
    read: Callable[[Path], tuple[FloatArray, PromptCard | None]]
    writer: Writer | None = None


class FoundPrompt(NamedTuple):
    """What lies at a path.

    Attributes:
        prompt: float32 (P, D), finite.
        format: its name in `FORMATS`.
        card: of a prompt that this package exported; none of others.
    """

    prompt: FloatArray
    format: str
    card: PromptCard | None


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "saved_model": Format(
            "a folder that `export_prompt` made",
            lambda path: (
                (path / prompt_files.CARD).is_file()
                or (path / "saved_model.pb").is_file()
            ),
            prompt_files.read_prompt,
            Writer(
                prompt_files.check_place,
                lambda path, prompt, card: prompt_files.write_prompt(
                    path, prompt, card()
                ),
            ),
        ),
        "npy": Format(
            "a .npy file of the paper's code",
            npy.recognizes,
            lambda path: (npy.read(path), None),
            Writer(
                npy.check_place,
                lambda path, prompt, _: npy.write(path, prompt),
            ),
        ),
        "peft": Format(
            "a PEFT adapter's folder",
            peft.recognizes,
            lambda path: (peft.read(path), None),
            Writer(
                peft.check_place,
                lambda path, prompt, _: peft.write(path, prompt),
            ),
        ),
        "t5x": Format(
            "a T5X checkpoint",
            t5x.recognizes,
            lambda path: (t5x.read_prompt(path), None),
        ),
    }
)
WRITERS: Mapping[str, Writer] = MappingProxyType(
    {name: row.writer for name, row in FORMATS.items() if row.writer}
)


def read(path: str | Path) -> FoundPrompt:
    """Reads a prompt in whichever format of the table it is.

    Raises:
        FileNotFoundError: nothing is at the path, or files are missing.
        ValueError: it is in none of the formats or in two of them, a file is
            damaged, or the array is no finite float (P, D).
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"No prompt at {path}.")
    if path.is_file() and path.suffix in _PICKLES:
        raise ValueError(
            f"{path} is named like a pickle, which can run code when it is "
            "read. Save the prompt as .npy, or PEFT's adapter as "
            f"{peft.WEIGHTS}."
        )
    name = _recognized(path)
    prompt, card = FORMATS[name].read(path)
    return FoundPrompt(finite_float32(prompt, path), name, card)


def finite_float32(prompt: FloatArray, place: str | Path) -> FloatArray:
    """The array as float32.

    Args:
        prompt: to be checked.
        place: where it lies, for the error.

    Raises:
        ValueError: it is no float array of rank 2, is empty, or has numbers
            that are not finite in float32.
    """
    is_float = prompt.dtype.kind == "f" or prompt.dtype == ml_dtypes.bfloat16
    if prompt.ndim != 2 or not prompt.size or not is_float:
        raise ValueError(
            f"{place} must hold a float array (prompt_length, d_model). "
            f"Received: {prompt.dtype} {prompt.shape}"
        )
    with np.errstate(over="ignore"):
        value = np.asarray(prompt, np.float32)
    if not np.isfinite(value).all():
        raise ValueError(f"{place} holds numbers that are not finite.")
    return value


def _recognized(path: Path) -> str:
    names = [name for name, row in FORMATS.items() if row.recognizes(path)]
    if len(names) == 1:
        return names[0]
    descriptions = "; ".join(row.description for row in FORMATS.values())
    if names:
        raise ValueError(
            f"{path} has files of several formats ({', '.join(names)}). Move "
            "the prompt to a folder of its own."
        )
    inside = sorted(path.glob(f"*/{prompt_files.CARD}"))
    if inside:
        raise ValueError(
            f"{path} holds no prompt itself, as a run's folder; name the "
            f"prompt's own: {', '.join(str(card.parent) for card in inside)}."
        )
    arrays = sorted(p.name for p in path.glob("*.npy"))
    if arrays:
        raise ValueError(
            f"{path} holds several things; name one file. Received a folder "
            f"with: {', '.join(arrays)}"
        )
    raise ValueError(f"{path} holds no prompt, which is one of: {descriptions}")
