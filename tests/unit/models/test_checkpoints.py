"""Hugging Face folders, read strictly, and presets by name."""

import json

import numpy as np
import pytest
from oracles.stack_cases import CASES

from keras_prompt.models.checkpoints import hugging_face
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.presets import PRESETS, find_checkpoint
from keras_prompt.models.t5.variables import parameter_count

# Lester et al. 2021, table 4: frozen parameters of each size.
PUBLISHED = {
    "small": 76_961_152,
    "base": 247_577_856,
    "large": 783_150_080,
    "xl": 2_849_757_184,
    "xxl": 11_135_332_352,
}


@pytest.fixture(params=["t5_1_1", "t5_1_0", "deep_encoder_odd_heads"])
def case(request):
    return CASES[request.param]


@pytest.fixture
def folder(case, tmp_path):
    hugging_face.write(
        tmp_path / "m", case.config, case.weights().__getitem__, b"vocabulary"
    )
    return tmp_path / "m"


def test_a_folder_round_trips_bit_equal(case, folder):
    checkpoint = hugging_face.read(folder)
    assert checkpoint.config == case.config
    assert checkpoint.vocabulary == b"vocabulary"
    for name, value in case.weights().items():
        np.testing.assert_array_equal(checkpoint.weights(name), value)


def test_bfloat16_halves_the_file(case, folder, tmp_path):
    hugging_face.write(
        tmp_path / "b", case.config, case.weights().__getitem__, b"", "bfloat16"
    )
    weights = hugging_face.read(tmp_path / "b").weights
    for name, value in case.weights().items():
        np.testing.assert_allclose(weights(name), value, rtol=2**-8)
    whole, half = (
        (f / "model.safetensors").stat().st_size
        for f in (folder, tmp_path / "b")
    )
    assert half < 0.75 * whole


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 9}, "no weight 'encoder.block"),
        ({"d_ff": 11}, r"has shape .* but config\.json asks for"),
        ({"model_type": "bert"}, "`model_type` 't5' or 'mt5'"),
        ({"feed_forward_proj": "gated-silu"}, "has `feed_forward_proj`"),
    ],
)
def test_configs_of_another_model_are_refused(folder, changes, message):
    edit_config(folder, **changes)
    with pytest.raises(ValueError, match=message):
        hugging_face.read(folder)


def test_weights_of_more_layers_than_the_config_has_are_refused(folder):
    edit_config(folder, num_decoder_layers=1, num_layers=1)
    with pytest.raises(ValueError, match="a weight of no T5"):
        hugging_face.read(folder)


def test_truncated_and_empty_folders_are_refused(folder, tmp_path):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        hugging_face.read(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        hugging_face.read(tmp_path / "empty")


@pytest.mark.parametrize("size", PUBLISHED)
def test_published_sizes_have_the_papers_parameter_counts(size):
    for name in (f"t5_1_1_{size}", f"t5_1_1_{size}_lm100k"):
        assert parameter_count(PRESETS[name].config) == PUBLISHED[size]


def test_names_and_paths_that_lead_nowhere_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Did you mean 't5_1_1_nano_lm'"):
        find_checkpoint("t5_1_1_nano")
    with pytest.raises(FileNotFoundError, match="No checkpoint at"):
        find_checkpoint(tmp_path / "absent")


def test_the_shipped_presets_are_what_their_rows_say():
    sizes = []
    for name in ("t5_1_1_pico_lm", "t5_1_1_nano_lm"):
        preset = PRESETS[name]
        assert preset.ships
        checkpoint = hugging_face.read(preset.folder)
        assert checkpoint.config == preset.config
        files = list(preset.folder.iterdir())
        assert preset.folder / "README.md" in files
        sizes.append(sum(path.stat().st_size for path in files))
    assert max(sizes) < 20_000_000
    assert sum(sizes) < 40_000_000


@pytest.mark.parametrize("value", [0, -1, 1.5, "8"])
def test_sizes_must_be_positive_integers(value):
    with pytest.raises(ValueError, match="`d_model` must be a positive"):
        T5Config(16, value, 4, 4, 1, 1, 1)
