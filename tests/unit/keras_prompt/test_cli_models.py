"""`keras-prompt models`: the list, a checkpoint of any format, conversion."""

import json

import command_line
import numpy as np
import pytest
from oracles.mesh_tensorflow_files import stored_weights, write_step
from oracles.t5x_files import flat_weights, write_folder

from keras_prompt.cli import models
from keras_prompt.models.checkpoints import formats, hugging_face

pytestmark = pytest.mark.usefixtures("keep_stderr")


@pytest.fixture(autouse=True)
def _apart(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_PROMPT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def weights(tiny_model):
    backbone = tiny_model.backbone
    return {
        name: np.array(backbone.weight(name).numpy())
        for name in backbone._variables_by_name
    }


@pytest.fixture
def folder(tiny_model, weights, tmp_path):
    hugging_face.write(
        tmp_path / "hf",
        tiny_model.backbone.config,
        weights.__getitem__,
        tiny_model.tokenizer.model_proto,
    )
    return tmp_path / "hf"


def run(capsys, *arguments):
    return command_line.run(capsys, "models", *arguments)


def test_the_list_says_what_is_here_and_how_large(capsys, tmp_path):
    _, out, _ = run(capsys)
    assert "11,135,332,352 parameters ·  44.5 GB float32 · LM-ad" in out
    assert str(tmp_path / "home") in out
    assert "flan_base_multi        not here" in out
    cached = tmp_path / "home" / "t5_1_1_base_lm100k"
    cached.mkdir(parents=True)
    (cached / "model.safetensors").write_bytes(b"")
    (tmp_path / "hub/models/keras/t5/keras/flan_base_multi/3").mkdir(
        parents=True
    )
    _, out, _ = run(capsys, "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["t5_1_1_base_lm100k"]["is_here"]
    assert rows["flan_base_multi"]["is_here"]
    assert rows["t5_1_1_nano_lm"]["is_here"]
    assert not rows["t5_1_1_base"]["is_here"]


def test_inspect_shows_every_format(
    capsys, tmp_path, folder, tiny_model, weights
):
    write_step(tmp_path / "t5.1.1.lm100k.tiny", stored_weights(weights))
    write_folder(tmp_path / "t5x", flat_weights(weights))
    for name in ("t5.1.1.lm100k.tiny", "t5x"):
        tiny_model.tokenizer.save(tmp_path / name / "spiece.model")
    expected = {
        "hf": ("hugging_face", None),
        "t5.1.1.lm100k.tiny": ("mesh_tensorflow", True),
        "t5x": ("t5x", None),
    }
    for name, (format, is_adapted) in expected.items():
        code, out, _ = run(capsys, "inspect", tmp_path / name, "--json")
        facts = json.loads(out)
        assert code == 0
        assert facts["format"] == format
        assert facts["is_adapted"] is is_adapted
        assert facts["fingerprint"] == tiny_model.backbone.fingerprint()
        assert facts["dtype"] == "float32"
        assert facts["bytes_on_disk"] > 4 * sum(
            w.size for w in weights.values()
        )
        assert facts["num_decoder_layers"] == 1
    code, out, _ = run(capsys, "inspect", "t5_1_1_base")
    assert code == 0
    assert "gs://t5-data/pretrained_models/t5.1.1.base" in out
    assert str(tmp_path / "home" / "t5_1_1_base") in out


def test_convert_writes_the_other_format(capsys, tmp_path, folder, weights):
    code, out, _ = run(
        capsys,
        "convert",
        folder,
        tmp_path / "mesh",
        "--format",
        "mesh_tensorflow",
    )
    assert code == 0
    assert "mesh_tensorflow" in out
    code, _, _ = run(
        capsys,
        "convert",
        tmp_path / "mesh",
        tmp_path / "back",
        "--format",
        "hugging_face",
    )
    assert code == 0
    checkpoint = formats.read(tmp_path / "back")
    for name, value in weights.items():
        np.testing.assert_array_equal(checkpoint.weights(name), value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "/nowhere/at/all"], "No checkpoint at /nowhere/at/all"),
        (["inspect", "t5_1_1_smal"], "Did you mean 't5_1_1_small'"),
        (["inspect", "flan_base_multi"], "kagglehub.model_download"),
        (
            ["convert", "t5_1_1_xl", "x", "--format", "hugging_face"],
            "Preset 't5_1_1_xl' is not here",
        ),
        (
            ["convert", "t5_1_1_nano_lm", "/", "--format", "hugging_face"],
            "absent or an empty folder",
        ),
    ],
)
def test_wrong_paths_end_in_one_line(capsys, arguments, message):
    code, _, err = run(capsys, *arguments)
    assert code == 1
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_every_format_that_is_written_can_be_named():
    assert tuple(formats.WRITERS) == models.FORMATS


def test_a_damaged_checkpoint_ends_in_one_line(capsys, folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    code, _, err = run(capsys, "inspect", folder)
    assert code == 1
    assert "is not a complete safetensors file" in err
    assert "Traceback" not in err
