"""One place finds out the format, checks the weights, and converts."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from oracles.keras_hub_t5 import keras_hub_backbone
from oracles.mesh_tensorflow_files import stored_weights, write_step
from oracles.stack_cases import StackCase
from oracles.t5x_files import flat_weights, write_file, write_folder

from keras_prompt.models.checkpoints import formats, hugging_face
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.presets import (
    PRESETS,
    find_checkpoint,
    is_adapted,
    preset_name,
)

# As many rows as the small tokenizer has ids, and more.
CASE = StackCase(
    "formats",
    T5Config(
        vocab_size=320,
        d_model=16,
        d_kv=4,
        d_ff=24,
        num_heads=3,
        num_encoder_layers=2,
        num_decoder_layers=2,
    ),
    3,
    (5,),
    (2,),
)


def write_hugging_face(folder):
    hugging_face.write(folder, CASE.config, CASE.weights().get, b"")


def write_keras_hub(folder):
    keras_hub_backbone(CASE).save_to_preset(str(folder))


WRITERS = {
    "hugging_face": write_hugging_face,
    "mesh_tensorflow": lambda folder: write_step(
        folder, stored_weights(CASE.weights(), norms="rms_norm"), 7
    ),
    "t5x": lambda folder: write_folder(folder, flat_weights(CASE.weights())),
    "keras_hub": write_keras_hub,
}


@pytest.fixture(params=WRITERS)
def name(request):
    return request.param


@pytest.fixture
def folder(name, tmp_path, tiny_tokenizer):
    folder = tmp_path / "checkpoint_of_a_model"
    WRITERS[name](folder)
    vocabulary = folder / "spiece.model"
    if name == "keras_hub":
        vocabulary = folder / "assets/tokenizer/vocabulary.spm"
        vocabulary.parent.mkdir(parents=True)
    tiny_tokenizer.save(vocabulary)
    return folder


keras_hub_chatter = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't"),
    pytest.mark.filterwarnings("ignore:.*was passed an input with a mask"),
    pytest.mark.filterwarnings("ignore:.*looks like it has unbuilt state"),
]
pytestmark = keras_hub_chatter


@pytest.fixture(scope="module")
def fingerprint():
    return CASE.backbone().fingerprint()


def test_every_format_loads_by_its_path_to_the_same_weights(
    name, folder, fingerprint, tiny_tokenizer
):
    assert formats.format_of(folder) == name
    model = PromptTunedT5.from_preset(folder, prompt_length=2)
    assert model.backbone.fingerprint() == fingerprint
    assert model.backbone.preset == "checkpoint_of_a_model"
    assert model.tokenizer.model_proto == tiny_tokenizer.model_proto
    assert model.backbone.config == CASE.config
    ids = np.array([[5, 8, 1]])
    backbone = model.backbone
    np.testing.assert_array_equal(
        backbone(backbone.embed(ids), ids > 0, ids),
        CASE.backbone()(backbone.embed(ids), ids > 0, ids),
    )


@pytest.mark.parametrize("target", formats.WRITERS)
def test_every_format_converts_bit_equal(name, folder, target, tmp_path):
    formats.convert(folder, tmp_path / "new", target)
    assert formats.format_of(tmp_path / "new") == target
    checkpoint = formats.read(tmp_path / "new")
    for weight, value in CASE.weights().items():
        np.testing.assert_array_equal(checkpoint.weights(weight), value)
    assert checkpoint.vocabulary == formats.read(folder).vocabulary


def test_a_vocabulary_larger_than_the_table_is_refused(
    name, folder, tiny_tokenizer, tmp_path, monkeypatch
):
    ids = tiny_tokenizer.vocabulary_size
    monkeypatch.setattr("keras_prompt.tokenizer.Tokenizer.vocabulary_size", 321)
    assert ids <= 320
    with pytest.raises(ValueError, match=r"has 321 ids.* and its .* 320 rows"):
        formats.read(folder)


def test_a_vocabulary_much_smaller_than_the_table_is_warned_of(
    tmp_path, tiny_tokenizer, recwarn
):
    """As mT5's weights beside T5's vocabulary; a padded table is none."""
    ids = tiny_tokenizer.vocabulary_size
    for padding in (64, 5000):
        config = dataclasses.replace(CASE.config, vocab_size=ids + padding)
        weights = dataclasses.replace(CASE, config=config).weights()
        folder = tmp_path / str(padding)
        proto = tiny_tokenizer.model_proto
        hugging_face.write(folder, config, weights.get, proto)
        formats.read(folder)
    (found,) = recwarn
    counts = f"has {ids:,} ids, sentinels included, and its embedding table "
    assert f"{counts}{ids + 5000:,} rows" in str(found.message)
    assert "32,100 ids and 32,128 rows" in str(found.message)


def test_a_vocabulary_that_is_none_is_refused(name, folder):
    for path in (*folder.glob("*.model"), *folder.rglob("*.spm")):
        path.write_bytes(b"no vocabulary")
    with pytest.raises(ValueError, match=r"The vocabulary of .*spiece\.model"):
        formats.read(folder)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_before_training(
    tmp_path, tiny_tokenizer, number
):
    weights = CASE.weights()
    bad = "decoder/block_001/layer_002/DenseReluDense/wo/kernel"
    weights[bad][-1, -1] = number
    proto = tiny_tokenizer.model_proto
    hugging_face.write(tmp_path / "m", CASE.config, weights.get, proto)
    with pytest.raises(ValueError, match=f"'{bad}' holds NaN or infinity"):
        PromptTunedT5.from_preset(tmp_path / "m")
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        formats.convert(tmp_path / "m", tmp_path / "n", "mesh_tensorflow")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("second", ["mesh_tensorflow", "t5x", "keras_hub"])
def test_a_folder_with_two_formats_is_refused_by_both_names(tmp_path, second):
    write_hugging_face(tmp_path / "m")
    if second == "keras_hub":
        (tmp_path / "m" / "model.weights.h5").write_bytes(b"")
    elif second == "t5x":
        flat = flat_weights(CASE.weights())
        write_file(tmp_path / "m" / "checkpoint_5", flat)
    else:
        WRITERS[second](tmp_path / "m")
    with pytest.raises(ValueError, match=f"hugging_face and {second}"):
        formats.format_of(tmp_path / "m")


def test_what_is_no_checkpoint_is_said_with_what_is(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="What is read: Hugging"):
            formats.read(path)


def test_the_current_folder_is_no_destination(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="must not be the current folder"):
        formats.convert(tmp_path / "absent", Path(), "hugging_face")


def test_a_destination_in_use_is_refused(tmp_path):
    (tmp_path / "used").write_text("")
    for path in (tmp_path, tmp_path / "used"):
        with pytest.raises(ValueError, match="absent or an empty folder"):
            formats.convert(tmp_path, path, "hugging_face")
    with pytest.raises(ValueError, match="Unknown format 'tx5'"):
        formats.convert(tmp_path, tmp_path / "new", "tx5")


def test_one_step_is_loaded_by_its_own_path(tmp_path, tiny_tokenizer):
    folder = tmp_path / "t5.1.1.lm100k.tiny"
    path = write_step(folder, stored_weights(CASE.weights()), 9)
    write_step(folder, stored_weights(CASE.weights()), 10)
    tiny_tokenizer.save(folder / "sentencepiece.model")
    assert find_checkpoint(path) == path
    model = PromptTunedT5.from_preset(path, prompt_length=1)
    assert model.backbone.preset == "t5.1.1.lm100k.tiny"
    t5x = tmp_path / "t5x_model"
    t5x.mkdir()
    write_folder(t5x / "checkpoint_9", flat_weights(CASE.weights()))
    tiny_tokenizer.save(t5x / "spiece.model")
    for path in (t5x, t5x / "checkpoint_9"):
        model = PromptTunedT5.from_preset(path, prompt_length=1)
        assert model.backbone.preset == "t5x_model"
    write_folder(t5x / "checkpoint_10", flat_weights(CASE.weights()))
    with pytest.raises(ValueError, match=r"one checkpoint.*checkpoint_10/ch"):
        formats.read(t5x)


def test_presets_are_looked_up_in_the_cache_folder(
    tmp_path, monkeypatch, tiny_tokenizer
):
    monkeypatch.setenv("KERAS_PROMPT_HOME", str(tmp_path))
    name = "t5_1_1_small_lm100k"
    with pytest.raises(FileNotFoundError) as raised:
        PromptTunedT5.from_preset(name)
    message = str(raised.value)
    for part in (
        "gs://t5-data/pretrained_models/t5.1.1.lm100k.small",
        "gs://t5-data/vocabs/cc_all.32000/sentencepiece.model",
        "google/t5-small-lm-adapt",
        str(tmp_path / name),
        "KERAS_PROMPT_HOME",
    ):
        assert part in message
    write_step(tmp_path / name, stored_weights(CASE.weights()))
    tiny_tokenizer.save(tmp_path / name / "sentencepiece.model")
    model = PromptTunedT5.from_preset(name, prompt_length=1)
    assert model.backbone.preset == name


def test_a_t5_1_1_that_was_not_adapted_warns_and_says_why(
    tmp_path, monkeypatch, tiny_tokenizer
):
    monkeypatch.setenv("KERAS_PROMPT_HOME", str(tmp_path))
    for name in ("t5_1_1_small", "t5-v1_1-base", "t5_1_1_base_lm100k", "mine"):
        write_hugging_face(tmp_path / name)
        tiny_tokenizer.save(tmp_path / name / "spiece.model")
    for name in ("t5_1_1_small", tmp_path / "t5-v1_1-base"):
        with pytest.warns(UserWarning, match="without LM adaptation.*sectio"):
            PromptTunedT5.from_preset(name, prompt_length=1)
    for name in ("t5_1_1_base_lm100k", tmp_path / "mine"):
        PromptTunedT5.from_preset(name, prompt_length=1)  # no warning


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("t5.1.1.xxl", False),
        ("t5-v1_1-small", False),
        ("t5_1.1_large", False),
        ("t5_1_1_xl", False),
        ("t5.1.1.lm100k.xxl", True),
        ("t5-base-lm-adapt", True),
        ("t5_1_1_lm100k_base", True),
        ("flan-t5-small", None),
        ("t5-small", None),
        ("my_t5_1_1_small_finetuned", None),
    ],
)
def test_names_tell_what_was_adapted(name, expected):
    assert is_adapted(name) is expected


def test_every_published_preset_says_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_PROMPT_HOME", str(tmp_path))
    published = [preset for preset in PRESETS.values() if not preset.ships]
    assert len(published) == 10
    for preset in published:
        assert preset.source.startswith("gs://t5-data/pretrained_models/t5.1.1")
        assert preset.hugging_face.startswith("google/t5-")
        assert preset.folder == tmp_path / preset.name
        assert not preset.is_here


def test_bfloat16_storage_is_not_widened_on_the_way(tmp_path, tiny_tokenizer):
    import ml_dtypes

    proto = tiny_tokenizer.model_proto
    hugging_face.write(
        tmp_path / "m", CASE.config, CASE.weights().get, proto, "bfloat16"
    )
    checkpoint = formats.read(tmp_path / "m")
    for name in CASE.weights():
        assert checkpoint.weights(name).dtype == ml_dtypes.bfloat16
    for dtype in ("bfloat16", "float32"):
        backbone = MeshT5Backbone(
            checkpoint.config, weights=checkpoint.weights, dtype=dtype
        )
        for name, value in CASE.weights().items():
            np.testing.assert_array_equal(
                backbone.weight(name).numpy(), value.astype(ml_dtypes.bfloat16)
            )


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("small_lm", "small_lm"),
        ("small_lm/model", "small_lm"),
        ("nano/50", "nano-50"),
        ("t5/checkpoint_1100000", "t5"),
        ("t5/model.ckpt-1100000", "t5"),
    ],
)
def test_a_model_s_name_says_which_run_it_is_of(tmp_path, path, name):
    assert preset_name(path, tmp_path / path) == name
