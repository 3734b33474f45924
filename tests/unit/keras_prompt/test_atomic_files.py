"""Folders take their place whole, or not at all."""

import os
import platform
import subprocess
import sys
import threading

import pytest

from keras_prompt import atomic_files
from keras_prompt.atomic_files import new_folder, replace_folder, write_file


def test_a_folder_takes_its_place_when_it_is_filled(tmp_path):
    folder = tmp_path / "above" / "model"
    for text in ("first", "second"):
        with new_folder(folder) as partial:
            (partial / f"{text}.txt").write_text(text)
            assert not (folder / f"{text}.txt").exists()
        assert [path.name for path in folder.iterdir()] == [f"{text}.txt"]
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_that_cannot_be_filled_leaves_all_as_it_was(
    tmp_path, is_there
):
    folder = tmp_path / "model"
    if is_there:
        folder.mkdir()
        (folder / "old.txt").write_text("old")

    def fill():
        with new_folder(folder) as partial:
            (partial / "new.txt").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill()
    assert [path.name for path in tmp_path.iterdir()] == ["model"] * is_there
    assert not is_there or (folder / "old.txt").read_text() == "old"


@pytest.mark.parametrize("is_there", [True, False])
def test_of_a_link_what_it_leads_to_is_written(tmp_path, is_there):
    disk = tmp_path / "large_disk"
    disk.mkdir()
    for name in ("folder", "file"):
        (tmp_path / name).symlink_to(disk / name)
    if is_there:
        (disk / "folder").mkdir()
        (disk / "file").write_text("old")
    with new_folder(tmp_path / "folder") as partial:
        (partial / "new.txt").write_text("whole")
    write_file(tmp_path / "file", "new")
    assert (disk / "folder" / "new.txt").read_text() == "whole"
    assert (disk / "file").read_text() == "new"
    assert sorted(path.name for path in disk.iterdir()) == ["file", "folder"]
    assert all((tmp_path / name).is_symlink() for name in ("folder", "file"))


def in_threads(count, act):
    """What `count` threads raised that all began `act` at one moment."""
    raised, begin = [], threading.Barrier(count)

    def run(number):
        begin.wait()
        try:
            act(number)
        except OSError as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=[n]) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_threads_that_write_one_file_all_succeed(tmp_path):
    def write(number):
        for _ in range(25):
            write_file(tmp_path / "file", f"{number}" * 1000)

    assert in_threads(8, write) == []
    text = (tmp_path / "file").read_text()
    assert text in {f"{number}" * 1000 for number in range(8)}
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_threads_that_fill_one_folder_all_succeed(tmp_path):
    """Also those that find no folder there at first."""
    for turn in range(25):
        folder = tmp_path / f"{turn}"

        def fill(number, folder=folder):
            with new_folder(folder) as partial:
                (partial / f"{number}").write_text("whole")

        assert in_threads(4, fill) == []
        assert len(list(folder.iterdir())) == 1
    assert len(list(tmp_path.iterdir())) == 25


def process_that_ended():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def thread_that_ended():
    thread = threading.Thread()
    thread.start()
    thread.join()
    return thread.ident


def test_only_what_no_living_writer_will_finish_is_removed(tmp_path):
    """A number of another machine's process says nothing here."""
    dead, here = process_that_ended(), platform.node()
    ended, mine = thread_that_ended(), os.getpid()
    this = threading.get_ident()
    names = {
        f".model.partial-{here}-{dead}-7": False,
        f".model.partial-{here}-1-7": True,
        f".model.partial-{here}x-{dead}-7": True,
        f".model.partial-{dead}": True,
        f".model2.partial-{here}-{dead}-7": True,
        # Of a process that had this number before this one.
        f".model.partial-{here}-{mine}-{ended}": False,
        f".model.partial-{here}-{mine}-{this}": False,
    }
    done, started = threading.Event(), threading.Event()
    other = threading.Thread(target=lambda: (started.set(), done.wait()))
    other.start()
    started.wait()
    names[f".model.partial-{here}-{mine}-{other.ident}"] = True
    try:
        for name in names:
            (tmp_path / name).mkdir()
            (tmp_path / name / "half.txt").write_text("half")
        with new_folder(tmp_path / "model"):
            pass
    finally:
        done.set()
        other.join()
    kept = {name for name, is_kept in names.items() if is_kept}
    assert {path.name for path in tmp_path.iterdir()} == kept | {"model"}


# In a process of its own: a thread of this one would wait for the GIL.
_COUNT_ABSENCES = """
import os, select, sys
print("begun", flush=True)
count = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(1000):
        count += not os.path.exists(sys.argv[1])
print(count)
"""


def absences(path, act):
    """How often `path` was not there while `act` was done."""
    command = [sys.executable, "-c", _COUNT_ABSENCES, path]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True
    ) as counter:
        assert counter.stdout.readline() == "begun\n"
        act()
        return int(counter.communicate()[0])


@pytest.mark.skipif(sys.platform != "linux", reason="needs renameat2")
def test_a_folder_is_there_while_it_is_replaced(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    folder.mkdir()

    def replace():
        for _ in range(200):
            (tmp_path / "new").mkdir()
            replace_folder(tmp_path / "new", folder)

    assert absences(folder, replace) == 0
    # The same count sees the moments between two renames.
    monkeypatch.setattr(atomic_files, "_exchange", lambda *_: False)
    assert absences(folder, replace) > 0
