"""Prompts that are replaced, come and go while they are read."""

import contextlib
import itertools
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from asked import TARGETS, TEXTS, call, decoded, request, scored, written_alone

from keras_prompt.atomic_files import remove
from keras_prompt.export.request_prompts import (
    first_that_works,
    read_row_prompts,
)
from keras_prompt.models.t5.backbone import MeshT5Backbone


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


def until(seconds, most, is_done):
    """Turns for `seconds`, and on until `is_done`, but no more than `most`."""
    start = time.monotonic()
    while True:
        passed = time.monotonic() - start
        if passed > most or (passed > seconds and is_done()):
            return
        yield


# In a process of its own: a thread of this one would wait for the GIL.
_FLIP = """
import itertools, os, pathlib, shutil, sys, time
from keras_prompt.atomic_files import replace_folder

root, way, pause = sys.argv[1:]
os.chdir(root)
for target in itertools.cycle(["flip1", "flip0"]):
    if way == "link":
        os.symlink(target, ".next")
        os.replace(".next", "flipped")
    else:
        shutil.copytree(target, ".next")
        replace_folder(pathlib.Path(".next"), pathlib.Path("flipped"))
    time.sleep(float(pause))
"""


@contextlib.contextmanager
def flipping(served, pause, way="link"):
    """ "flipped" is "flip0" and "flip1" in turn; removes all three."""
    flipped, following = served.root / "flipped", served.root / ".next"
    if way == "link":
        flipped.symlink_to("flip0")
    else:
        shutil.copytree(served.root / "flip0", flipped)
    command = [sys.executable, "-c", _FLIP, served.root, way, str(pause)]
    flipper = subprocess.Popen(command)
    try:
        yield
    finally:
        flipper.kill()
        flipper.wait()
        for path in (flipped, following):
            remove(path)
        for version in range(2):
            shutil.rmtree(served.root / f"flip{version}")


@pytest.mark.parametrize(
    "way",
    [
        "link",
        pytest.param(
            "folder",
            marks=pytest.mark.skipif(
                sys.platform != "linux", reason="needs renameat2"
            ),
        ),
    ],
)
def test_replacing_a_prompt_under_load_fails_no_request(
    served, signatures, way
):
    """Each answer is that of one prompt or of the other.

    By a flipped link, or by a folder in the place of a folder. At this pace
    some readings find files of both prompts; at ten times the pace one of them
    was seen to find so in each of its attempts.
    """
    texts = ["the film is a delight", "dull"]
    expected = []
    for version, (length, seed) in enumerate(((4, 11), (2, 12))):
        model = served.add(f"flip{version}", length, seed)
        expected.append(model.rank(texts, TARGETS))
    inputs = scored(served) | request(served, texts, ["flipped"] * 2)
    inputs = {name: value[:2] for name, value in inputs.items()}
    seen = set()
    with flipping(served, 1e-3, way):
        for _ in until(2, 60, lambda: seen == {0, 1}):
            found = call(signatures, "score", inputs)
            assert found["status"].tolist() == [b"ok", b"ok"]
            errors = [np.abs(found["scores"] - e).max() for e in expected]
            assert min(errors) < 1e-4
            seen.add(int(np.argmin(errors)))
    assert seen == {0, 1}


def reader(served):
    """Reads one task's prompt as the signatures do, and nothing else."""
    backbone = served.alone["films"].backbone
    fingerprint = backbone.fingerprint()

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def read(task):
        return read_row_prompts(
            tf.constant(str(served.root)),
            task[None],
            d_model=backbone.config.d_model,
            fingerprint=fingerprint,
        )

    def read_one(task):
        found = read(tf.constant(task))
        return found.vectors.numpy()[0], found.status.numpy()[0]

    return read_one


def add_ours_and_a_foreign(served):
    """Adds "flip0", and "flip1" of another base; returns flip0's vectors."""
    config = served.alone["films"].backbone.config
    other = MeshT5Backbone(config, seed=9, preset="t5_of_others")
    served.add("flip1", 3, 12, other)
    return served.add("flip0", 3, 11).prompt.embeddings.numpy()


FOREIGN = b"prompt 'flipped' is of another base: t5_of_others"


def test_a_card_goes_with_its_own_vectors(served, monkeypatch):
    """The link is flipped just after a reading has read the card."""
    restore = tf.raw_ops.RestoreV2
    link, following = served.root / "flipped", served.root / ".next"
    flips = []

    def flip():
        if not flips:
            following.symlink_to("flip1")
            following.replace(link)
        flips.append(1)

    def flip_and_restore(**inputs):
        with tf.control_dependencies([tf.numpy_function(flip, [], [])]):
            return restore(**inputs)

    monkeypatch.setattr(tf.raw_ops, "RestoreV2", flip_and_restore)
    ours = add_ours_and_a_foreign(served)
    read = reader(served)
    link.symlink_to("flip0")
    try:
        vectors, status = read("flipped")
        assert (len(vectors), status) == (0, FOREIGN)
        assert flips == [1]
        vectors, status = read("flip0")
        np.testing.assert_array_equal(vectors, ours)
        assert status == b"ok"
    finally:
        link.unlink()
        for version in range(2):
            shutil.rmtree(served.root / f"flip{version}")


def test_a_prompt_of_another_base_is_never_ok_while_a_link_is_flipped(served):
    ours = add_ours_and_a_foreign(served)
    read = reader(served)
    seen = set()
    # A reading takes less than one: no two flips fall into it.
    with flipping(served, pause=1e-2):
        for _ in until(3, 60, lambda: seen >= {b"ok", FOREIGN}):
            vectors, status = read("flipped")
            seen.add(status)
            assert len(vectors) == (3 if status == b"ok" else 0)
            if status == b"ok":
                np.testing.assert_array_equal(vectors, ours)
    assert seen == {b"ok", FOREIGN}


def test_a_task_that_comes_and_goes_under_load_touches_no_neighbour(
    served, signatures
):
    served.add("guest", 2, 5)
    here, away = served.root / "guest", served.root / ".guest"

    def move(turn):
        here.rename(away) if turn % 2 == 0 else away.rename(here)

    inputs = request(served, TEXTS, ["films", "guest", "dogs", "films"])
    expected = np.array(written_alone(served))[[0, 2, 3]].tolist()
    both = {b"ok", b"unknown task 'guest'"}
    seen = set()
    with meanwhile(move):
        for _ in until(2, 60, lambda: seen >= both):
            found = call(signatures, "generate", inputs)
            first, guest, *others = found["status"].tolist()
            assert {first, *others} == {b"ok"}
            answers = decoded(served, found["output_ids"])
            assert [answers[i] for i in (0, 2, 3)] == expected
            seen.add(guest)
    for place in (here, away):
        shutil.rmtree(place, ignore_errors=True)
    assert both <= seen <= both | {b"prompt 'guest' cannot be read"}


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
