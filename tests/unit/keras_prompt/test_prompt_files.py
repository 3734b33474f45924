"""A prompt on disk: small, atomic, readable without this package."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from keras_prompt.export.other_tools import export_npy, export_peft
from keras_prompt.export.prompt import export_prompt, load_prompt
from keras_prompt.models.plain_t5 import PlainT5
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.prompt_files import read_prompt, write_prompt

_OVERHEAD = 20_000  # graph, index and card; stated in the README


@pytest.fixture
def exported(tiny_model, tmp_path):
    export_prompt(tiny_model, tmp_path / "p", task="demo", steps=7, score=50.0)
    return tmp_path / "p"


def test_a_prompt_round_trips_with_its_card(tiny_model, exported):
    before = tiny_model.prompt.embeddings.numpy().copy()
    tiny_model.prompt.embeddings.assign(before * 0)
    card = load_prompt(tiny_model, exported)
    np.testing.assert_array_equal(tiny_model.prompt.embeddings, before)
    assert (card.task, card.steps, card.score) == ("demo", 7, 50.0)
    assert (card.prompt_length, card.d_model) == (3, 16)


def test_the_folder_holds_the_prompt_and_a_few_kilobytes(tiny_model, tmp_path):
    size = export_prompt(tiny_model, tmp_path / "p")
    assert 4 * 3 * 16 < size < 4 * 3 * 16 + _OVERHEAD


def test_a_process_with_tensorflow_alone_reads_it(tiny_model, exported):
    program = (
        "import sys, tensorflow as tf\n"
        "loaded = tf.saved_model.load(sys.argv[1])\n"
        "whole = loaded.signatures['serving_default']()['prompt']\n"
        "rows = loaded.signatures['rows'](rows=tf.constant([2, 9]))\n"
        "path = sys.argv[1] + '/variables/variables'\n"
        "keys = [key for key, _ in tf.train.list_variables(path)]\n"
        "assert keys[1:] == ['prompt/.ATTRIBUTES/VARIABLE_VALUE'], keys\n"
        "assert 'keras_prompt' not in sys.modules\n"
        "tf.io.write_file(sys.argv[2], tf.io.serialize_tensor(whole))\n"
        "print(rows['is_valid'].numpy().tolist())\n"
    )
    out = exported.parent / "tensor"
    done = subprocess.run(
        [sys.executable, "-c", program, str(exported), str(out)],
        capture_output=True,
        text=True,
        check=True,
        cwd=exported.parent,
    )
    assert done.stdout.strip() == "[True, False]"
    import tensorflow as tf

    value = tf.io.parse_tensor(tf.io.read_file(str(out)), tf.float32)
    np.testing.assert_array_equal(value, tiny_model.prompt.embeddings)


def test_a_prompt_for_another_base_is_refused(tiny_model, exported):
    config = tiny_model.backbone.config
    other = PromptTunedT5(
        MeshT5Backbone(config, seed=4, preset="other"), tiny_model.tokenizer, 3
    )
    before = other.prompt.embeddings.numpy().copy()
    with pytest.raises(ValueError, match=r"tuned on tiny.*this model is other"):
        load_prompt(other, exported)
    np.testing.assert_array_equal(other.prompt.embeddings, before)


def test_another_prompt_length_is_refused(tiny_model, exported):
    longer = PromptTunedT5(tiny_model.backbone, tiny_model.tokenizer, 4)
    with pytest.raises(ValueError, match=r"prompt_length 3.*prompt_length 4"):
        load_prompt(longer, exported)


def test_truncated_and_missing_files_are_refused(exported):
    data = next(exported.glob("variables/variables.data*"))
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is truncated or was changed"):
        read_prompt(exported)
    (exported / "variables/variables.index").unlink()
    with pytest.raises(FileNotFoundError, match=r"no variables/variables\.ind"):
        read_prompt(exported)
    with pytest.raises(FileNotFoundError, match="No prompt folder"):
        read_prompt(exported / "absent")


def test_cards_that_do_not_fit_are_refused(exported):
    path = exported / "prompt.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {"prompt_length": 4}))
    with pytest.raises(ValueError, match=r"holds float32 \(3, 16\)"):
        read_prompt(exported)
    path.write_text(json.dumps(card | {"format_version": 99}))
    with pytest.raises(ValueError, match="format_version 99"):
        read_prompt(exported)
    for words in ("yes", [1], None):
        path.write_text(json.dumps(card | {"label_words": words}))
        with pytest.raises(ValueError, match="label_words is"):
            read_prompt(exported)
    for text in ("{", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"prompt\.json is no prompt's ca"):
            read_prompt(exported)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task": ["a"]}, r"task is \['a'\]"),
        ({"steps": "7"}, "steps is '7'"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"score": "x"}, "score is 'x'"),
        ({"metrics": [1.0]}, r"metrics is \[1.0\]"),
        ({"metrics": {"accuracy": "x"}}, "metrics has accuracy 'x'"),
        ({"versions": None}, "versions is None"),
    ],
)
def test_values_of_another_kind_in_a_card_are_refused(
    tiny_model, exported, change, words
):
    path = exported / "prompt.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    message = f"{re.escape(str(path))} is no prompt's card: {words}"
    with pytest.raises(ValueError, match=message):
        read_prompt(exported)
    with pytest.raises(ValueError, match=message):
        load_prompt(tiny_model, exported)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_none_in_the_card(
    tiny_model, tmp_path, value
):
    """As of a correlation with a constant; JSON has no word for it."""
    metrics = {"pearson": value, "accuracy": 50.0}
    export_prompt(tiny_model, tmp_path / "p", score=value, metrics=metrics)

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    text = (tmp_path / "p/prompt.json").read_text()
    stored = json.loads(text, parse_constant=refuse)
    assert stored["score"] is None
    card = load_prompt(tiny_model, tmp_path / "p")
    assert (card.score, card.metrics) == (None, {"accuracy": 50.0})


def test_an_export_replaces_a_prompt_and_nothing_else(tiny_model, exported):
    tiny_model.prompt.embeddings.assign(np.ones((3, 16)))
    export_prompt(tiny_model, exported)
    assert (read_prompt(exported).prompt == 1).all()
    assert [p.name for p in exported.parent.iterdir()] == ["p"]
    other = exported.parent / "mine"
    other.mkdir()
    (other / "notes.txt").write_text("keep")
    with pytest.raises(ValueError, match="holds no prompt"):
        export_prompt(tiny_model, other)
    assert (other / "notes.txt").read_text() == "keep"
    (exported / "notes.txt").write_text("keep")
    with pytest.raises(ValueError, match=r"holds notes\.txt besides"):
        export_prompt(tiny_model, exported)
    assert (exported / "notes.txt").read_text() == "keep"


@pytest.mark.parametrize("shape", [(3, 7), (16,), (0, 16), (1, 3, 16)])
def test_a_given_prompt_must_fit_the_model(tiny_model, tmp_path, shape):
    prompt = np.zeros(shape, np.float32)
    message = (
        r"`prompt` must have shape \(prompt_length, 16\), the width of tiny"
    )
    for export, name in (
        (export_prompt, "p"),
        (export_npy, "p.npy"),
        (export_peft, "adapter"),
    ):
        with pytest.raises(ValueError, match=message):
            export(tiny_model, tmp_path / name, prompt=prompt)
    assert not list(tmp_path.iterdir())


def test_a_prompt_may_be_a_variable_or_lists(tiny_model, tmp_path):
    embeddings = tiny_model.prompt.embeddings
    for given in (embeddings, embeddings.value, embeddings.numpy().tolist()):
        export_prompt(tiny_model, tmp_path / "p", prompt=given)
        found = read_prompt(tmp_path / "p").prompt
        np.testing.assert_array_equal(found, embeddings.numpy())


def test_a_model_without_a_prompt_exports_none(tiny_model, tmp_path):
    plain = PlainT5(tiny_model.backbone, tiny_model.tokenizer)
    with pytest.raises(ValueError, match="A PlainT5 has no prompt"):
        export_prompt(plain, tmp_path / "p")


def test_an_unwritable_place_gives_one_error_and_leaves_nothing(
    tiny_model, tmp_path
):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written"):
        export_prompt(tiny_model, tmp_path / "file" / "p")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_old_prompt(tiny_model, exported, monkeypatch):
    old = read_prompt(exported).prompt
    tiny_model.prompt.embeddings.assign(np.ones((3, 16)))

    def full(*_, **__):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("tensorflow.saved_model.save", full)
    with pytest.raises(OSError, match="No space left"):
        export_prompt(tiny_model, exported)
    np.testing.assert_array_equal(read_prompt(exported).prompt, old)
    assert [p.name for p in exported.parent.iterdir()] == ["p"]


def test_numbers_that_are_not_finite_are_refused(exported):
    card = read_prompt(exported).card
    bad = np.full((3, 16), np.nan, np.float32)
    with pytest.raises(ValueError, match="not finite"):
        write_prompt(exported, bad, card)
