"""Puts files and folders in their place whole, or not at all."""

import contextlib
import ctypes
import os
import platform
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

_AT_CURRENT_FOLDER = -100  # linux/fcntl.h: AT_FDCWD
_EXCHANGE = 2  # linux/fs.h: RENAME_EXCHANGE


def partial_path(path: Path) -> Path:
    """A name beside `path` for what is not yet whole.

    No other thread, process or machine on the same disk has it. What processes
    of this machine left under such names when they were killed is removed.
    """
    stem = f".{path.name}.partial-{platform.node()}-"
    this = threading.current_thread().ident
    for entry in path.parent.iterdir():
        left = re.fullmatch(re.escape(stem) + r"(\d+)-(\d+)", entry.name)
        if left and not _is_at_work(int(left[1]), int(left[2])):
            remove(entry)
    return path.parent / f"{stem}{os.getpid()}-{this}"


def write_file(path: Path, content: bytes | str) -> None:
    """Replaces a file in one step; a crash leaves the old one or the new.

    Of a link, what it leads to is replaced.

    Raises:
        OSError: it cannot be written; the old one, if any, is unharmed.
    """
    data = content.encode() if isinstance(content, str) else content
    path = _behind_links(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_path(path)
        try:
            partial.write_bytes(data)
            _sync(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"{path} cannot be written: {reason}.") from error


def check_replaceable(folder: Path, what: str, mark: str, names: str) -> None:
    """Refuses a folder with which more than a former `what` would be lost.

    Args:
        folder: may be absent or empty.
        what: is about to be written there.
        mark: a path in every such folder.
        names: pattern of all that lies directly in one.

    Raises:
        ValueError: the folder holds something else, or is a file.
    """
    if not folder.exists():
        return
    inside = sorted(folder.iterdir()) if folder.is_dir() else [folder]
    found = [path.name for path in inside]
    if found and not (folder / mark).is_file():
        raise ValueError(
            f"{folder} exists and holds no {what}. Choose another folder."
        )
    for name in found:
        if not re.fullmatch(names, name):
            raise ValueError(
                f"{folder} is to be replaced by another {what}, and holds "
                f"{name} besides. Move that, or choose another folder."
            )


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which then takes the place of `folder`.

    If filling it fails, it is removed, and `folder` is as it was.

    Args:
        folder: may be absent, as may the folders above it. Of a link, what it
            leads to is replaced: it may be another disk.

    Raises:
        OSError: it cannot be written.
    """
    folder = _behind_links(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(folder)
    try:
        partial.mkdir()
        yield partial
        replace_folder(partial, folder)
    finally:
        remove(partial)


def replace_folder(new: Path, folder: Path) -> None:
    """Puts `new` in the place of `folder`, which afterwards is gone.

    There is a whole folder at that place at every moment where the system can
    exchange two paths (Linux), and for all but the moment between two renames
    elsewhere.

    Args:
        new: in the same file system.
        folder: may be absent.

    Raises:
        OSError: it cannot be done; `folder` is as it was.
    """
    for path in (new, *new.rglob("*")):
        _sync(path)
    if not _rename_first(new, folder):
        _swap(new, folder)
    _sync(folder.parent)


def remove(path: Path) -> None:
    """Removes a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _behind_links(path: Path) -> Path:
    return path.resolve() if path.is_symlink() else path


def _sync(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename_first(new: Path, folder: Path) -> bool:
    """Renames to where nothing was; False if something is, or came before."""
    if folder.exists():
        return False
    try:
        new.rename(folder)
    except OSError:
        if folder.exists():
            return False
        raise
    return True


def _swap(new: Path, folder: Path) -> None:
    """Puts a folder in the place of one that is there, and removes that."""
    if _exchange(new, folder):
        remove(new)
        return
    old = new.with_name(f"{new.name}-old")
    folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    remove(old)


def _exchange(first: Path, second: Path) -> bool:
    """Swaps two paths in one step; False where that cannot be done."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    here = _AT_CURRENT_FOLDER
    names = os.fsencode(first), os.fsencode(second)
    return renameat2(here, names[0], here, names[1], _EXCHANGE) == 0


def _is_at_work(process: int, thread: int) -> bool:
    """Whether another thread, here or in another process, is still there."""
    if process != os.getpid():
        return _is_running(process)
    # In a container a process often has the number of the one before it.
    others = threading.enumerate()
    others.remove(threading.current_thread())
    return thread in {other.ident for other in others}


def _is_running(process: int) -> bool:
    with contextlib.suppress(PermissionError):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
    return True
