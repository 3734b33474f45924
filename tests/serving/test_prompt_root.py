"""Prompts in the folder that a server reads: they come, go, and are broken."""

import contextlib
import ctypes
import json
import os
import shutil
import sys

import numpy as np
import pytest
import tensorflow as tf
from asked import (
    TEXTS,
    call,
    decoded,
    request,
    written_alone,
)

from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.prompt_files import CARD, CHECKPOINT, DATA, INDEX, KEY

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


_OPEN = 0x20  # linux/inotify.h: IN_OPEN


@contextlib.contextmanager
def opened(folders):
    """Whether folders or files in them were opened since this was last asked.

    By Linux' inotify.
    """
    library = ctypes.CDLL(None)
    descriptor = library.inotify_init1(os.O_NONBLOCK)
    assert descriptor >= 0

    def any_was():
        try:
            return bool(os.read(descriptor, 1 << 16))
        except BlockingIOError:
            return False

    try:
        for folder in folders:
            for path in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
                found = library.inotify_add_watch(
                    descriptor, os.fsencode(path), _OPEN
                )
                assert found >= 0, path
        yield any_was
    finally:
        os.close(descriptor)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux' inotify")
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
    try:
        with opened([*decoys, films / "inner"]) as any_was:
            found = call(signatures, "serving_default", inputs)
            assert not any_was()
        # The same watch sees a name that is one.
        with opened([films]) as any_was:
            call(signatures, "serving_default", inputs)
            assert any_was()
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


def test_a_prompt_of_another_base_is_refused_with_its_name(served, signatures):
    config = served.alone["films"].backbone.config
    other = MeshT5Backbone(config, seed=9, preset="t5_of_others")
    served.add("foreign", 2, 0, other)
    tasks = ["films", "foreign", "dogs", "films"]
    found = call(signatures, "generate", request(served, TEXTS, tasks))
    status = b"prompt 'foreign' is of another base: t5_of_others"
    assert found["status"].tolist() == [b"ok", status, b"ok", b"ok"]
    shutil.rmtree(served.root / "foreign")


def in_one_line(card):
    return json.dumps(json.loads(card))


def indented_by_four(card):
    return json.dumps(json.loads(card), indent=4)


def with_windows_line_ends(card):
    return card.replace("\n", "\r\n")


@pytest.mark.parametrize(
    "lay_out", [in_one_line, indented_by_four, with_windows_line_ends]
)
def test_a_card_laid_out_in_another_way_is_the_same_card(
    served, signatures, lay_out
):
    config = served.alone["films"].backbone.config
    other = MeshT5Backbone(config, seed=9, preset='modèle "9"')
    served.add("ours", 2, 0)
    served.add("foreign", 2, 0, other)
    for name in ("ours", "foreign"):
        card = served.root / name / CARD
        card.write_bytes(lay_out(card.read_text()).encode())
    inputs = request(served, TEXTS[:2], ["ours", "foreign"])
    found = call(signatures, "generate", inputs)
    # As JSON writes that name.
    status = b"prompt 'foreign' is of another base: mod\\u00e8le \\\"9\\\""
    assert found["status"].tolist() == [b"ok", status]
    shutil.rmtree(served.root / "ours")
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
