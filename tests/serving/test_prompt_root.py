"""Prompts in the folder that a server reads: they come, go, and are broken."""

import contextlib
import ctypes
import itertools
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf
from asked import (
    TARGETS,
    TEXTS,
    call,
    decoded,
    request,
    scored,
    written_alone,
)

from keras_prompt.export.request_prompts import first_that_works
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.prompt_files import CHECKPOINT, DATA, INDEX, KEY

HOSTILE = [
    "../prompts/films",
    "films/../films",
    "films/",
    "/etc",
    "..",
    ".",
    "",
    ".hidden",
    "films\0",
    "films\n",
    "f*",
    "film[s]",
    "фильмы",
    "a" * 129,
    "a" * 10_240,
]


class Opened:
    """Counts openings of folders and of files in them (Linux' inotify)."""

    _OPEN = 0x20  # linux/inotify.h: IN_OPEN

    def __init__(self, folders):
        self._library = ctypes.CDLL(None)
        self._descriptor = self._library.inotify_init1(os.O_NONBLOCK)
        for folder in folders:
            for path in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
                found = self._library.inotify_add_watch(
                    self._descriptor, os.fsencode(path), self._OPEN
                )
                assert found >= 0, path

    def any(self):
        """Whether anything was opened since this was last asked."""
        try:
            return bool(os.read(self._descriptor, 1 << 16))
        except BlockingIOError:
            return False


def test_hostile_names_are_refused_and_the_others_answered(served, signatures):
    # A prompt outside the root, one hidden in it, and one below another.
    films = served.root / "films"
    for outside_root in ("../decoy", ".hidden", "films/inner"):
        shutil.copytree(
            films,
            served.root / outside_root,
            ignore=shutil.ignore_patterns("inner"),
        )
    names = [*HOSTILE, "../decoy", "films/inner", "nobody", "films"]
    inputs = request(served, [TEXTS[0]] * len(names), ["x"] * len(names))
    inputs["task"] = np.array([n.encode() for n in names], dtype=object)
    decoys = [served.root / name for name in ("../decoy", ".hidden")]
    opened = Opened([*decoys, films / "inner"])
    try:
        found = call(signatures, "serving_default", inputs)
        assert not opened.any()
        # The same watch sees a name that is one.
        opened = Opened([films])
        call(signatures, "serving_default", inputs)
        assert opened.any()
    finally:
        for outside_root in ("../decoy", ".hidden", "films/inner"):
            shutil.rmtree(served.root / outside_root)
    invalid = len(names) - 2
    assert found["status"].tolist() == [
        *([b"invalid task name"] * invalid),
        b"unknown task 'nobody'",
        b"ok",
    ]
    assert not found["output_ids"][:-1].any()
    assert decoded(served, found["output_ids"])[-1] == written_alone(served)[0]


def test_a_task_is_added_replaced_and_removed_while_served(
    served, signatures, tmp_path
):
    def ask():
        inputs = request(served, TEXTS, ["new"] * 4)
        found = call(signatures, "generate", inputs)
        return set(found["status"].tolist()), found["output_ids"]

    assert ask()[0] == {b"unknown task 'new'"}
    for length, seed in ((2, 7), (4, 8)):
        model = served.add("new", length, seed)
        status, ids = ask()
        assert status == {b"ok"}
        assert decoded(served, ids) == model.generate(TEXTS, max_length=6)
    shutil.rmtree(served.root / "new")
    assert ask()[0] == {b"unknown task 'new'"}


@contextlib.contextmanager
def meanwhile(act):
    """Calls `act` with 0, 1, 2 … every two milliseconds."""
    stop = threading.Event()

    def go_on():
        for turn in itertools.count():
            if stop.wait(0.002):
                return
            act(turn)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


# In a process of its own: a thread of this one would wait for the GIL.
_FLIP = """
import itertools, os, sys, time
os.chdir(sys.argv[1])
for target in itertools.cycle(["flip0", "flip1"]):
    os.symlink(target, ".next")
    os.replace(".next", "flipped")
    time.sleep(1e-4)
"""


def test_replacing_a_prompt_under_load_fails_no_request(served, signatures):
    """Each answer is that of one prompt or of the other, by a flipped link.

    At this pace some readings find files of both prompts.
    """
    texts = ["the film is a delight", "dull"]
    expected = []
    for version, (length, seed) in enumerate(((4, 11), (2, 12))):
        model = served.add(f"flip{version}", length, seed)
        expected.append(model.rank(texts, TARGETS))
    link = served.root / "flipped"
    link.symlink_to("flip0")
    inputs = scored(served) | request(served, texts, ["flipped"] * 2)
    inputs = {name: value[:2] for name, value in inputs.items()}
    seen = set()
    flipper = subprocess.Popen([sys.executable, "-c", _FLIP, served.root])
    try:
        for _ in range(200):
            found = call(signatures, "score", inputs)
            assert found["status"].tolist() == [b"ok", b"ok"]
            errors = [np.abs(found["scores"] - e).max() for e in expected]
            assert min(errors) < 1e-4
            seen.add(int(np.argmin(errors)))
    finally:
        flipper.kill()
        flipper.wait()
        for path in (link, served.root / ".next"):
            path.unlink(missing_ok=True)
        for version in range(2):
            shutil.rmtree(served.root / f"flip{version}")
    assert seen == {0, 1}


def test_a_task_that_comes_and_goes_under_load_touches_no_neighbour(
    served, signatures
):
    served.add("guest", 2, 5)
    here, away = served.root / "guest", served.root / ".guest"

    def move(turn):
        here.rename(away) if turn % 2 == 0 else away.rename(here)

    inputs = request(served, TEXTS, ["films", "guest", "dogs", "films"])
    expected = np.array(written_alone(served))[[0, 2, 3]].tolist()
    seen = set()
    with meanwhile(move):
        for _ in range(60):
            found = call(signatures, "generate", inputs)
            first, guest, *others = found["status"].tolist()
            assert {first, *others} == {b"ok"}
            answers = decoded(served, found["output_ids"])
            assert [answers[i] for i in (0, 2, 3)] == expected
            seen.add(guest)
    for place in (here, away):
        shutil.rmtree(place, ignore_errors=True)
    unread = b"prompt 'guest' cannot be read"
    assert (
        {b"ok", b"unknown task 'guest'"}
        <= seen
        <= {
            b"ok",
            b"unknown task 'guest'",
            unread,
        }
    )


def test_a_reading_that_fails_is_tried_again_and_then_given_up():
    attempts = []

    def read_at(attempt):
        def read():
            attempts.append(1)
            if len(attempts) < attempt:
                raise tf.errors.DataLossError(None, None, "Checksum")
            return np.float32(7)

        attempts.clear()
        value, words = first_that_works(
            lambda: (tf.py_function(read, [], tf.float32), tf.constant("ok")),
            (tf.constant(0.0), tf.constant("given up")),
        )
        return value.numpy(), words.numpy(), len(attempts)

    assert read_at(1) == (7, b"ok", 1)
    assert read_at(3) == (7, b"ok", 3)
    assert read_at(99) == (0, b"given up", 10)


def test_a_prompt_of_another_base_is_refused_with_its_name(served, signatures):
    config = served.alone["films"].backbone.config
    other = MeshT5Backbone(config, seed=9, preset="t5_of_others")
    served.add("foreign", 2, 0, other)
    tasks = ["films", "foreign", "dogs", "films"]
    found = call(signatures, "generate", request(served, TEXTS, tasks))
    status = b"prompt 'foreign' is of another base: t5_of_others"
    assert found["status"].tolist() == [b"ok", status, b"ok", b"ok"]
    shutil.rmtree(served.root / "foreign")


def truncated(file, keep):
    def damage(folder):
        path = folder / file
        path.write_bytes(path.read_bytes()[:keep])

    return damage


def flip_a_bit(folder):
    path = folder / DATA
    data = bytearray(path.read_bytes())
    data[8] ^= 1
    path.write_bytes(data)


def holding(shape, value):
    def damage(folder):
        tf.raw_ops.SaveV2(
            prefix=str(folder / CHECKPOINT),
            tensor_names=[KEY],
            shape_and_slices=[""],
            tensors=[tf.fill(shape, value)],
        )

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        truncated(DATA, 100),
        truncated(INDEX, 20),
        truncated(INDEX, 60),
        truncated("prompt.json", 10),
        flip_a_bit,
        holding([5, 16], np.nan),
        holding([5, 15], np.float32(1)),
        holding([5, 16], 1),
    ],
    ids=["data", "footer", "index", "card", "bit", "nan", "width", "dtype"],
)
def test_a_damaged_prompt_fails_its_own_rows_only(served, signatures, damage):
    shutil.copytree(served.root / "dogs", served.root / "broken")
    damage(served.root / "broken")
    tasks = ["films", "broken", "dogs", "films"]
    found = call(signatures, "generate", request(served, TEXTS, tasks))
    shutil.rmtree(served.root / "broken")
    assert [s == b"ok" for s in found["status"]] == [True, False, True, True]
    assert b"'broken'" in found["status"][1]
