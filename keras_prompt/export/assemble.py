"""Fixed releases: a base and its prompts as one SavedModel, by hard links."""

import dataclasses
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_prompt.atomic_files import new_folder
from keras_prompt.export.checkpoint_parts import (
    PARTS,
    check_parts,
    link,
    merge_release,
)
from keras_prompt.export.request_prompts import TASK_NAME
from keras_prompt.export.server_card import (
    CARD,
    read_server_card,
    refuse_other_content,
    write_server_card,
)
from keras_prompt.prompt_files import PromptFile, read_prompt


@dataclasses.dataclass(frozen=True)
class Release:
    """What an assembly came to.

    Attributes:
        tasks: that the release serves.
        new_bytes: of files that are not the base's.
        seconds: that it took.
    """

    tasks: tuple[str, ...]
    new_bytes: int
    seconds: float


def assemble_release(
    base: str | Path, destination: str | Path, prompts: Sequence[str | Path]
) -> Release:
    """Puts prompts into a copy of a base that shares its files.

    Args:
        base: of `export_server(…, prompt_root=None)`.
        destination: folder to make in the same file system, such as
            "server/3"; an exported server there is replaced, in one step.
        prompts: folders of `export_prompt`; each serves the task of its
            folder's name.

    Raises:
        FileNotFoundError: there is no such base or prompt.
        ValueError: the base reads its prompts from a folder, it or a prompt
            is damaged, a prompt is of another base, a name is no task's or
            given twice, or the destination is the base, lies in it, or holds
            something else.
        OSError: it cannot be written; nothing is left behind.
    """
    start = time.perf_counter()
    base, folder = Path(base), Path(destination)
    card = read_server_card(base)
    if card.prompt_root is not None or not (base / PARTS).is_dir():
        raise ValueError(
            f"{base} is no base of releases: export one with "
            "serve-export --releases, or export_server(…, prompt_root=None)."
        )
    if folder.resolve().is_relative_to(base.resolve()):
        raise ValueError(
            "`destination` must lie outside the base, which is kept for "
            f"further releases. Received: {folder}, of the base {base}"
        )
    check_parts(base)
    files = _read(prompts, card.fingerprint, card.base)
    refuse_other_content(folder)
    card = dataclasses.replace(card, tasks=tuple(files))
    try:
        with new_folder(folder) as partial:
            _fill(partial, base, files)
            write_server_card(partial, card)
            new_bytes = _unlinked_bytes(partial)
    except tf.errors.OpError as error:
        reason = str(error).split("; ")[-1]
        raise OSError(
            f"The release cannot be written to {folder}: {reason}."
        ) from error
    return Release(card.tasks, new_bytes, time.perf_counter() - start)


def _fill(folder: Path, base: Path, files: Mapping[str, PromptFile]) -> None:
    """Links to a base's files, and prompts in variables of their own."""
    for path in base.rglob("*"):
        inside = path.relative_to(base)
        if inside.parts[0] in ("variables", PARTS) or str(inside) == CARD:
            continue
        if path.is_dir():
            (folder / inside).mkdir(parents=True)
        else:
            link(path, folder / inside)
    lengths = [len(file.prompt) for file in files.values()]
    width = next(iter(files.values())).card.d_model
    vectors = np.zeros((len(files), max(lengths), width), np.float32)
    for row, file in enumerate(files.values()):
        vectors[row, : len(file.prompt)] = file.prompt
    names = [name.encode() for name in files]
    merge_release(base, folder, names, vectors, np.asarray(lengths, np.int32))


def _unlinked_bytes(folder: Path) -> int:
    files = (path.stat() for path in folder.rglob("*") if path.is_file())
    return sum(file.st_size for file in files if file.st_nlink == 1)


def _read(
    prompts: Sequence[str | Path], fingerprint: str, base: str
) -> dict[str, PromptFile]:
    """The prompts by their folders' names."""
    if isinstance(prompts, (str, Path)) or not prompts:
        raise ValueError(
            "`prompts` must be several prompts' folders, at least one. "
            f"Received: {prompts!r}"
        )
    files: dict[str, PromptFile] = {}
    for path in map(Path, prompts):
        name = path.absolute().name
        if not re.fullmatch(TASK_NAME, name):
            raise ValueError(
                f"A served task's name must match {TASK_NAME}. Received: "
                f"'{name}', of {path}"
            )
        if name in files:
            raise ValueError(f"Two prompts are named '{name}'.")
        files[name] = read_prompt(path)
        files[name].card.refuse_other_base(
            path, fingerprint, f"this base is {base}"
        )
    return files
