"""The exported base: what it answers, and what it refuses row by row."""

import json
import shutil
import threading
import time

import numpy as np
import pytest
import served as outside
import tensorflow as tf

from keras_prompt.export.server import export_server, read_server_card
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.text_batches import pad_rows

TEXTS = ["the film is a delight", "a dog barked", "dull", "the cast"]
TASKS = ["films", "dogs", "dogs", "films"]
TARGETS = ["positive", "a dog"]


@pytest.fixture(scope="module")
def signatures(served):
    loaded = tf.saved_model.load(str(served.base))
    yield loaded.signatures
    del loaded


def request(served, texts=TEXTS, tasks=TASKS):
    rows = served.alone["films"].target_rows(texts)
    return {
        "task": np.array(tasks, dtype=np.bytes_),
        "token_ids": pad_rows(rows),
        "token_lengths": np.array([len(row) for row in rows], np.int32),
    }


def scored(served, **changes):
    inputs = request(served) | changes
    rows = served.alone["films"].target_rows(TARGETS)
    count = len(inputs["token_ids"])
    lengths = np.array([[len(row) for row in rows]], np.int32)
    return inputs | {
        "target_ids": np.repeat(pad_rows(rows)[None], count, axis=0),
        "target_lengths": np.repeat(lengths, count, axis=0),
    }


def with_prompts(served):
    inputs = request(served)
    del inputs["task"]
    prompts = [served.alone[t].prompt.embeddings.numpy() for t in TASKS]
    lengths = [len(prompt) for prompt in prompts]
    padded = np.zeros((len(TASKS), max(lengths), 16), np.float32)
    for row, prompt in enumerate(prompts):
        padded[row, : len(prompt)] = prompt
    return inputs | {
        "prompt": padded,
        "prompt_lengths": np.array(lengths, np.int32),
    }


def decoded(served, output_ids):
    tokenizer = served.alone["films"].tokenizer
    return [tokenizer.decode(row) for row in output_ids]


def written_alone(served):
    return [
        served.alone[task].generate([text], max_length=6)[0]
        for text, task in zip(TEXTS, TASKS, strict=True)
    ]


def scored_alone(served):
    return np.concatenate(
        [
            served.alone[task].rank([text], TARGETS)
            for text, task in zip(TEXTS, TASKS, strict=True)
        ]
    )


def call(signatures, name, inputs):
    inputs = {key: tf.constant(value) for key, value in inputs.items()}
    outputs = signatures[name](**inputs)
    return {key: value.numpy() for key, value in outputs.items()}


REQUESTS = {
    "serving_default": request,
    "generate": request,
    "with_prompt": with_prompts,
    "score": scored,
}


def assert_right(served, name, found):
    assert found["status"].tolist() == [b"ok"] * 4
    if name == "score":
        expected = scored_alone(served)
        np.testing.assert_allclose(found["scores"], expected, 1e-5, 1e-5)
    else:
        assert found["output_ids"].dtype == np.int32
        assert decoded(served, found["output_ids"]) == written_alone(served)


@pytest.mark.parametrize("name", REQUESTS)
def test_every_row_gets_what_its_prompt_alone_would_answer(
    served, signatures, name
):
    found = call(signatures, name, REQUESTS[name](served))
    assert_right(served, name, found)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_a_c_program_runs_every_signature_of_base_and_prompt(served, tmp_path):
    program = outside.compile_loader(tmp_path)
    for name, make in REQUESTS.items():
        found = outside.run_in_c(program, served.base, name, make(served))
        assert_right(served, name, found)
    prompt = served.alone["dogs"].prompt.embeddings.numpy()
    folder = served.root / "dogs"
    found = outside.run_in_c(program, folder, "serving_default", {})
    np.testing.assert_array_equal(found["prompt"], prompt)
    rows = {"rows": np.array([4, -1, 0, 5], np.int32)}
    found = outside.run_in_c(program, folder, "rows", rows)
    np.testing.assert_array_equal(found["vectors"][[0, 2]], prompt[[4, 0]])
    assert found["is_valid"].tolist() == [True, False, True, False]


@pytest.mark.slow
def test_a_process_with_tensorflow_alone_runs_every_signature(served, tmp_path):
    for name, make in REQUESTS.items():
        found = outside.run_in_bare_python(
            served.base, name, make(served), tmp_path
        )
        assert_right(served, name, found)


def test_variables_are_stored_once(served):
    backbone = served.alone["films"].backbone
    weights = sum(w.numpy().nbytes for w in backbone.weights)
    data = served.base / "variables/variables.data-00000-of-00001"
    assert weights <= data.stat().st_size < weights + 20_000


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
    try:
        found = call(signatures, "serving_default", inputs)
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


def test_bad_rows_have_a_status_and_touch_no_neighbour(served, signatures):
    inputs = scored(served)
    good = call(signatures, "score", inputs)["scores"]
    ids, lengths = inputs["token_ids"], inputs["token_lengths"]
    wide = np.pad(ids, [(0, 0), (0, 25)], constant_values=4)
    cases = {
        b"empty input": {"token_lengths": lengths * [1, 0, 1, 1]},
        b"token_lengths exceeds the row's tokens": {
            "token_lengths": np.where([0, 1, 0, 0], 99, lengths)
        },
        b"input longer than 24 tokens": {
            "token_ids": wide,
            "token_lengths": np.where([0, 1, 0, 0], 25, lengths),
        },
        b"a token id is outside the vocabulary": {
            "token_ids": np.where(np.eye(4)[1][:, None], 1 << 30, ids)
        },
    }
    for status, change in cases.items():
        change = {k: np.asarray(v, np.int32) for k, v in change.items()}
        for name in ("score", "generate"):
            given = inputs | change
            if name == "generate":
                given = {k: v for k, v in given.items() if "target" not in k}
            found = call(signatures, name, given)
            assert found["status"].tolist() == [b"ok", status, b"ok", b"ok"]
        found = call(signatures, "score", inputs | change)["scores"]
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found[[0, 2, 3]], good[[0, 2, 3]], 1e-5)
        assert (found[1] == 0).all()
    targets = inputs["target_ids"].copy()
    targets[2, 0, 0] = -1
    found = call(signatures, "score", inputs | {"target_ids": targets})
    status = b"a target id is outside the vocabulary"
    assert found["status"].tolist() == [b"ok", b"ok", status, b"ok"]
    lengths = inputs["target_lengths"].copy()
    lengths[0, 1], lengths[3, 0] = 0, 99
    found = call(signatures, "score", inputs | {"target_lengths": lengths})
    assert found["status"].tolist() == [
        b"empty target",
        b"ok",
        b"ok",
        b"target_lengths exceeds the target's tokens",
    ]


def test_what_a_batching_server_fills_with_does_not_count(served, signatures):
    """It pads each tensor with its first value, and to more labels."""

    def padded(array, axes):
        width = [(0, 3 * (axis in axes)) for axis in range(array.ndim)]
        return np.pad(array, width, constant_values=array.flat[0])

    inputs = scored(served)
    good = call(signatures, "score", inputs)["scores"]
    for name, axes in (
        ("token_ids", [1]),
        ("target_ids", [1, 2]),
        ("target_lengths", [1]),
    ):
        inputs[name] = padded(inputs[name], axes)
    found = call(signatures, "score", inputs)
    assert found["status"].tolist() == [b"ok"] * 4
    assert found["scores"].shape == (4, 5)
    np.testing.assert_allclose(found["scores"][:, :2], good, 1e-5, 1e-5)


def test_ids_after_a_rows_end_do_not_count(served, signatures):
    inputs = request(served)
    ids, lengths = inputs["token_ids"].copy(), inputs["token_lengths"]
    ids[np.arange(ids.shape[1]) >= lengths[:, None]] = -7
    found = call(signatures, "generate", inputs | {"token_ids": ids})
    assert_right(served, "generate", found)


def test_sent_prompts_that_are_no_prompts_have_a_status(served, signatures):
    inputs = with_prompts(served)
    inputs["prompt"][0, 0, 0] = np.nan
    inputs["prompt_lengths"] = np.array([3, 0, 9, 3], np.int32)
    found = call(signatures, "with_prompt", inputs)
    assert found["status"].tolist() == [
        b"the prompt has numbers that are not finite",
        b"empty prompt",
        b"prompt_lengths exceeds the row's vectors",
        b"ok",
    ]
    assert decoded(served, found["output_ids"])[3] == written_alone(served)[3]


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


def test_replacing_a_prompt_under_load_fails_no_request(served, signatures):
    """Each answer is that of one prompt or of the other, by a flipped link.

    A link that is flipped in the microseconds between RestoreV2's reading of
    index and data is a DataLossError, which the client asks again after.
    """

    def ask(inputs):
        for _ in range(3):
            try:
                return call(signatures, "score", inputs)
            except tf.errors.DataLossError:
                lost.append(1)
        raise AssertionError("three times in a row")

    lost = []
    texts = ["the film is a delight", "dull"]
    expected = []
    for version, (length, seed) in enumerate(((4, 11), (2, 12))):
        model = served.add(f"flip{version}", length, seed)
        expected.append(model.rank(texts, TARGETS))
    link = served.root / "flipped"
    link.symlink_to("flip0")
    stop, flips = threading.Event(), []

    def flip():
        while not stop.is_set():
            new = served.root / ".next"
            new.symlink_to(f"flip{(len(flips) + 1) % 2}")
            new.replace(link)
            flips.append(1)
            time.sleep(0.002)

    thread = threading.Thread(target=flip)
    thread.start()
    inputs = scored(served) | request(served, texts, ["flipped"] * 2)
    inputs = {name: value[:2] for name, value in inputs.items()}
    seen = set()
    try:
        for _ in range(60):
            found = ask(inputs)
            assert found["status"].tolist() == [b"ok", b"ok"]
            errors = [np.abs(found["scores"] - e).max() for e in expected]
            assert min(errors) < 1e-4
            seen.add(int(np.argmin(errors)))
    finally:
        stop.set()
        thread.join()
        for path in (link, served.root / "flip0", served.root / "flip1"):
            path.unlink() if path.is_symlink() else shutil.rmtree(path)
    assert seen == {0, 1}
    assert len(flips) > 20
    assert len(lost) < 6


def test_a_prompt_of_another_base_is_refused_with_its_name(served, signatures):
    config = served.alone["films"].backbone.config
    other = MeshT5Backbone(config, seed=9, preset="t5_of_others")
    served.add("foreign", 2, 0, other)
    tasks = ["films", "foreign", "dogs", "films"]
    found = call(signatures, "generate", request(served, TEXTS, tasks))
    status = b"prompt 'foreign' is of another base: t5_of_others"
    assert found["status"].tolist() == [b"ok", status, b"ok", b"ok"]
    shutil.rmtree(served.root / "foreign")


@pytest.mark.parametrize(
    ("file", "keep"),
    [
        ("variables/variables.data-00000-of-00001", 100),
        ("variables/variables.index", 20),
        ("prompt.json", 10),
    ],
)
def test_a_truncated_prompt_fails_its_own_rows_only(
    served, signatures, file, keep
):
    shutil.copytree(served.root / "dogs", served.root / "broken")
    path = served.root / "broken" / file
    path.write_bytes(path.read_bytes()[:keep])
    tasks = ["films", "broken", "dogs", "films"]
    found = call(signatures, "generate", request(served, TEXTS, tasks))
    shutil.rmtree(served.root / "broken")
    assert [s == b"ok" for s in found["status"]] == [True, False, True, True]
    assert b"'broken'" in found["status"][1]


def test_inputs_of_another_rank_are_refused(served, tmp_path):
    inputs = request(served)
    inputs["token_ids"] = inputs["token_ids"][0]
    loaded = tf.saved_model.load(str(served.base))
    with pytest.raises(Exception, match=r"token_ids|shape"):
        call(loaded.signatures, "generate", inputs)


def test_the_card_says_what_was_exported(served):
    card = read_server_card(served.base)
    assert (card.base, card.input_length, card.max_length) == ("tiny", 24, 6)
    assert card.fingerprint == served.alone["films"].backbone.fingerprint()
    assert card.prompt_root == str(served.root)
    root = (served.base / "assets/prompt_root.txt").read_text()
    assert root == f"{served.root}\n"
    assert not (served.base / "prompt_root.txt").exists()


def test_an_export_is_replaced_and_nothing_else_is(served, tmp_path):
    backbone = served.alone["films"].backbone
    target = tmp_path / "base/1"
    for length in (3, 4):
        export_server(backbone, target, "prompts", max_length=length)
        assert read_server_card(target).max_length == length
    assert [path.name for path in target.parent.iterdir()] == ["1"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("all of it")
    with pytest.raises(ValueError, match="holds no exported server"):
        export_server(backbone, tmp_path / "mine", "prompts")
    assert (tmp_path / "mine/thesis.txt").read_text() == "all of it"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_length": 0}, "`input_length` must be a positive"),
        ({"max_length": 1.5}, "`max_length` must be a positive"),
        ({"prompt_root": "a[b]"}, "must not contain"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(
    served, tmp_path, options, message
):
    options = {"prompt_root": "prompts"} | options
    with pytest.raises(ValueError, match=message):
        export_server(
            served.alone["films"].backbone, tmp_path / "server", **options
        )
    assert not list(tmp_path.iterdir())


def test_a_damaged_or_missing_card_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no exported server"):
        read_server_card(tmp_path)
    (tmp_path / "assets.extra").mkdir()
    card = tmp_path / "assets.extra/server.json"
    card.write_text(json.dumps({"base": "x"}))
    with pytest.raises(ValueError, match="is no server's card"):
        read_server_card(tmp_path)
