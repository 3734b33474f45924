"""The exported base: what it answers, and what it refuses row by row."""

import json
import shutil

import numpy as np
import pytest
import served as outside
import tensorflow as tf
from asked import (
    REQUESTS,
    assert_right,
    assert_stored_once,
    call,
    decoded,
    request,
    scored,
    with_prompts,
    written_alone,
)

from keras_prompt.export.server import export_server, read_server_card


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
    assert set(REQUESTS) == outside.signatures_of(served.base)
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
    prompt = served.alone["dogs"].prompt.embeddings.numpy()
    folder = served.root / "dogs"
    assert outside.signatures_of(folder) == {"serving_default", "rows"}
    found = outside.run_in_bare_python(folder, "serving_default", {}, tmp_path)
    np.testing.assert_array_equal(found["prompt"], prompt)
    rows = {"rows": np.array([4, -1], np.int32)}
    found = outside.run_in_bare_python(folder, "rows", rows, tmp_path)
    np.testing.assert_array_equal(found["vectors"][0], prompt[4])
    assert found["is_valid"].tolist() == [True, False]


def test_variables_are_stored_once(served):
    assert_stored_once(served)


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
    targets = inputs["target_ids"].copy()
    targets[1, 1, 0] = 0
    found = call(signatures, "score", inputs | {"target_ids": targets})
    status = b"a target id is padding"
    assert found["status"].tolist() == [b"ok", status, b"ok", b"ok"]
    assert (found["scores"][1] == 0).all()
    lengths = inputs["target_lengths"].copy()
    lengths[0, 1], lengths[3, 0] = 0, 99
    found = call(signatures, "score", inputs | {"target_lengths": lengths})
    assert found["status"].tolist() == [
        b"empty target",
        b"ok",
        b"ok",
        b"target_lengths exceeds the target's tokens",
    ]
    targets = np.pad(inputs["target_ids"], [(0, 0), (0, 0), (0, 25)])
    targets[targets == 0] = 4
    lengths = inputs["target_lengths"].copy()
    lengths[1, 0], lengths[3, 1] = 25, 24
    changes = {"target_ids": targets, "target_lengths": lengths}
    found = call(signatures, "score", inputs | changes)
    status = b"target longer than 24 tokens"
    assert found["status"].tolist() == [b"ok", status, b"ok", b"ok"]
    np.testing.assert_allclose(found["scores"][[0, 2]], good[[0, 2]], 1e-5)
    assert (found["scores"][1] == 0).all()
    assert np.isfinite(found["scores"][3]).all()
    inputs["target_ids"] = inputs["target_ids"][:, :, :0]
    inputs["target_lengths"] = np.zeros_like(lengths)
    found = call(signatures, "score", inputs)
    assert found["status"].tolist() == [b"empty target"] * 4


@pytest.mark.parametrize("name", REQUESTS)
def test_no_rows_are_no_answers(served, signatures, name):
    inputs = REQUESTS[name](served)
    none = {key: value[:0] for key, value in inputs.items()}
    answer = "scores" if name == "score" else "output_ids"
    found = call(signatures, name, none)
    assert found["status"].shape == (0,)
    assert found[answer].shape[0] == 0


@pytest.mark.parametrize("width", [0, 3])
def test_no_targets_are_no_scores_and_every_row_has_its_status(
    served, signatures, width
):
    tasks = ["films", "dogz", "dogs", "films"]
    inputs = request(served, tasks=tasks)
    inputs["target_ids"] = np.zeros((4, 0, width), np.int32)
    inputs["target_lengths"] = np.zeros((4, 0), np.int32)
    found = call(signatures, "score", inputs)
    assert found["scores"].shape == (4, 0)
    unknown = b"unknown task 'dogz'"
    assert found["status"].tolist() == [b"ok", unknown, b"ok", b"ok"]


def test_a_row_far_too_long_costs_its_neighbours_nothing(served, signatures):
    """Attention over its 200,000 tokens would take hundreds of GB."""
    inputs = request(served)
    width = 200_000 - inputs["token_ids"].shape[1]
    inputs["token_ids"] = np.pad(inputs["token_ids"], [(0, 0), (0, width)])
    inputs["token_lengths"][1] = 200_000
    found = call(signatures, "generate", inputs)
    assert found["status"].tolist() == [
        b"ok",
        b"input longer than 24 tokens",
        b"ok",
        b"ok",
    ]
    written = decoded(served, found["output_ids"])
    assert [written[i] for i in (0, 2, 3)] == [
        written_alone(served)[i] for i in (0, 2, 3)
    ]


def test_a_target_far_too_long_costs_its_neighbours_nothing(served, signatures):
    """Attention over its 200,000 tokens would take hundreds of GB."""
    inputs = scored(served)
    good = call(signatures, "score", inputs)["scores"]
    inputs["target_ids"] = np.pad(
        inputs["target_ids"], [(0, 0), (0, 0), (0, 200_000)]
    )
    inputs["target_lengths"][1, 0] = 200_000
    found = call(signatures, "score", inputs)
    status = b"target longer than 24 tokens"
    assert found["status"].tolist() == [b"ok", status, b"ok", b"ok"]
    np.testing.assert_allclose(
        found["scores"][[0, 2, 3]], good[[0, 2, 3]], 1e-5
    )


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


def test_inputs_of_another_rank_are_refused(served, tmp_path):
    inputs = request(served)
    inputs["token_ids"] = inputs["token_ids"][0]
    loaded = tf.saved_model.load(str(served.base))
    with pytest.raises(tf.errors.InvalidArgumentError, match="token_ids"):
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
        ({"max_length": 2**31 - 1}, "`max_length` must be at most 2,147,483,6"),
        ({"prompt_root": "a[b]"}, "must not contain"),
        ({"prompt_root": ""}, "must name a folder; of the current one"),
        ({"prompt_root": "gs://bucket/p"}, "of the server's file system"),
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
    for text in (json.dumps({"base": "x"}), "[" * 100_000):
        card.write_text(text)
        with pytest.raises(ValueError, match=r"server\.json is no server's ca"):
            read_server_card(tmp_path)
