"""KerasHub's preset folders, written by KerasHub itself."""

import json
import shutil
import warnings

import h5py
import keras_hub
import ml_dtypes
import numpy as np
import pytest
from oracles import users_model
from oracles.keras_hub_t5 import keras_hub_backbone, logits_of
from oracles.stack_cases import CASES

from keras_prompt.models.checkpoints import keras_hub as reader
from keras_prompt.models.t5.presets import find_checkpoint, preset_name

# KerasHub's embedding attaches a mask that its attention does not take; it
# saves layers that were never built; and Keras' variables take no `copy`.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't"),
    pytest.mark.filterwarnings("ignore:.*was passed an input with a mask"),
    pytest.mark.filterwarnings("ignore:.*looks like it has unbuilt state"),
]


@pytest.fixture(params=["t5_1_1", "t5_1_0", "tied_gated"])
def case(request):
    return CASES[request.param]


def save(folder, case, tokenizer, **options):
    keras_hub_backbone(case).save_to_preset(str(folder), **options)
    proto = folder / "proto.spm"
    tokenizer.save(proto)
    hub = keras_hub.tokenizers.T5Tokenizer(proto=str(proto))
    hub.save_to_preset(str(folder))
    proto.unlink()
    return folder


@pytest.fixture
def folder(case, tmp_path, tiny_tokenizer):
    return save(tmp_path / "hub", case, tiny_tokenizer)


@pytest.fixture(scope="module")
def saved(tmp_path_factory, tiny_tokenizer):
    folder = tmp_path_factory.mktemp("presets") / "hub"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return save(folder, CASES["t5_1_1"], tiny_tokenizer)


@pytest.fixture
def gated(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "hub")


def assert_is(checkpoint, case):
    assert checkpoint.config == case.config
    for name, value in case.weights().items():
        np.testing.assert_array_equal(checkpoint.weights(name), value)


def test_a_preset_is_read_bit_equal(case, folder, tiny_tokenizer):
    assert reader.recognizes(folder)
    checkpoint = reader.read(folder)
    assert_is(checkpoint, case)
    assert checkpoint.vocabulary == tiny_tokenizer.model_proto
    assert checkpoint.dtype == "float32"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*softmax over axis -1:UserWarning")
@pytest.mark.filterwarnings("ignore:Exception encountered when calling")
@pytest.mark.parametrize("name", users_model.CASES)
def test_a_users_results_equal_kerashubs(tmp_path, tiny_tokenizer, name):
    case = users_model.CASES[name]
    save(tmp_path / "hub", case, tiny_tokenizer)
    theirs = keras_hub.models.T5Backbone.from_preset(str(tmp_path / "hub"))
    users_model.assert_equal(
        tmp_path / "hub", tiny_tokenizer, logits_of(theirs)
    )


def test_sharded_weights_are_read_and_a_missing_shard_is_not(
    tmp_path, tiny_tokenizer
):
    case = CASES["t5_1_1"]
    folder = save(tmp_path / "s", case, tiny_tokenizer, max_shard_size=8e-6)
    shards = sorted(folder.glob("model_*.weights.h5"))
    assert len(shards) > 2
    assert_is(reader.read(folder), case)
    shards[1].rename(folder / "model.weights.h5")
    with pytest.raises(ValueError, match="has both"):
        reader.read(folder)
    (folder / "model.weights.h5").unlink()
    with pytest.raises(FileNotFoundError, match=shards[1].name):
        reader.read(folder)


@pytest.mark.parametrize("value", [5, None, [5], [["x"]]])
def test_an_index_that_names_no_files_is_refused(gated, value):
    (gated / "model.weights.h5").unlink()
    text = json.dumps({"weight_map": {"/layers": value}})
    (gated / "model.weights.json").write_text(text)
    with pytest.raises(ValueError, match="must name files in `weight_map`"):
        reader.read(gated)


def test_more_layers_than_weights_are_refused_at_once(gated):
    path = gated / "config.json"
    values = json.loads(path.read_text())
    values["config"]["num_layers"] = 10**9
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"asks for 2\d+ layers"):
        reader.read(gated)


def test_bfloat16_is_kept(gated):
    with h5py.File(gated / "model.weights.h5", "r+") as file:
        path = "layers/reversible_embedding/vars/0"
        value = file[path][...].astype(ml_dtypes.bfloat16)
        del file[path]
        file.create_dataset(path, data=value).attrs["dtype"] = "bfloat16"
    checkpoint = reader.read(gated)
    assert checkpoint.dtype == "bfloat16"
    np.testing.assert_array_equal(checkpoint.weights("shared/embedding"), value)


def test_names_of_older_versions_are_read(gated):
    with h5py.File(gated / "model.weights.h5", "r+") as file:
        file.move("layers", "_layer_checkpoint_dependencies")
        file["_layer_checkpoint_dependencies/dropout/seed_generator/vars/0"] = (
            np.zeros(2, np.uint32)
        )
    assert_is(reader.read(gated), CASES["t5_1_1"])


def edit(folder, **changes):
    path = folder / "config.json"
    values = json.loads(path.read_text())
    values["config"] |= changes
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 3}, "has no weight"),
        ({"num_layers": 1}, "has no weight"),
        ({"intermediate_dim": 23}, r"has shape .* but config\.json asks for"),
        ({"activation": "gelu"}, r"KerasHub's 'gelu' is not.* 'gelu'"),
        ({"tie_embedding_weights": True}, "a weight of no T5"),
        ({"num_heads": None}, "must be a positive integer"),
    ],
)
def test_configs_of_another_model_are_refused(gated, changes, message):
    edit(gated, **changes)
    with pytest.raises(ValueError, match=message):
        reader.read(gated)


def test_an_activation_stored_as_an_object_is_read(gated):
    edit(gated, activation={"config": "keras_nlp>gelu_approximate"})
    assert_is(reader.read(gated), CASES["t5_1_1"])


def test_damaged_and_absent_files_are_refused(gated):
    path = gated / "model.weights.h5"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a complete HDF5 file"):
        reader.read(gated)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"has no model\.weights\.h5"):
        reader.read(gated)
    (gated / "assets/tokenizer/vocabulary.spm").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no assets/tokenizer"):
        reader.read(gated)
    (gated / "config.json").write_text('{"class_name": "BertBackbone"}')
    (gated / "assets/tokenizer/vocabulary.spm").write_bytes(b"")
    with pytest.raises(ValueError, match="`class_name` 'T5Backbone'"):
        reader.read(gated)


def test_names_are_looked_up_in_kerashubs_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"kagglehub\.model_download"):
        find_checkpoint("flan_base_multi")
    folder = tmp_path / "models/keras/t5/keras/flan_base_multi"
    for version in ("2", "10", "10.complete"):
        (folder / version).mkdir(parents=True)
    assert find_checkpoint("flan_base_multi") == folder / "10"
    assert preset_name("flan_base_multi", folder / "10") == "flan_base_multi"
    with pytest.raises(ValueError, match=r"Did you mean 't5_1\.1_small'"):
        find_checkpoint("t5_1.1_smal")
