"""NumPy's `.npy`, as the paper's code writes a prompt: (P, D) and nothing else.

That code names the file after the variable, without the suffix, so a file is
known by its first bytes. Letters: P prompt length, D d_model.
"""

import io
import tokenize
from pathlib import Path

import numpy as np

from keras_prompt.atomic_files import write_file
from keras_prompt.types import FloatArray

SUFFIX = ".npy"
_MAGIC = b"\x93NUMPY"
# NumPy reads the header as a Python literal, which can fail in many ways.
_DAMAGED = (
    ValueError,
    TypeError,
    OverflowError,
    EOFError,
    OSError,
    MemoryError,
    RecursionError,
    tokenize.TokenError,
)


def recognizes(path: Path) -> bool:
    """Whether the file is named or begins as a `.npy` file."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return path.suffix == SUFFIX or file.read(len(_MAGIC)) == _MAGIC


def read(path: Path) -> FloatArray:
    """The array of a file, whatever its shape; objects are not unpickled.

    Raises:
        ValueError: the file is no `.npy` file, is truncated, has bytes left
            over, or holds pickled objects.
    """
    try:
        value = np.lib.format.open_memmap(path, mode="r")
    except _DAMAGED as error:
        raise ValueError(
            f"{path} is not a complete .npy file: {error}"
        ) from error
    left_over = path.stat().st_size - value.offset - value.nbytes
    if left_over:
        raise ValueError(f"{path} has {left_over} bytes after its array.")
    return np.array(value)


def write(path: str | Path, prompt: FloatArray) -> int:
    """Writes a prompt that the paper's code reads.

    Args:
        path: must end in `.npy`; a `.npy` file there is replaced.
        prompt: float32 (P, D).

    Returns:
        Bytes of the file: 4 * P * D + 128.

    Raises:
        ValueError: the path has another suffix, or something else is there.
        OSError: it cannot be written; nothing is left behind.
    """
    path = Path(path)
    check_place(path)
    content = io.BytesIO()
    np.save(content, np.asarray(prompt, np.float32), allow_pickle=False)
    write_file(path, content.getvalue())
    return path.stat().st_size


def check_place(path: Path) -> None:
    """Refuses a place where a prompt may not be written.

    Raises:
        ValueError: the path has another suffix, or something else is there.
    """
    if path.suffix != SUFFIX:
        raise ValueError(f"A .npy file's name ends in .npy. Received: {path}")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is a folder. Choose another name.")
