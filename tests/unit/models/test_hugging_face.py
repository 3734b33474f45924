"""Hugging Face folders in all their forms: shards, versions, tokenizers."""

import json

import numpy as np
import pytest
import safetensors.numpy
from oracles.stack_cases import CASES

from keras_prompt.models.checkpoints import hugging_face
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.variables import weight_table

INDEX = "model.safetensors.index.json"


@pytest.fixture
def case():
    return CASES["t5_1_1"]


@pytest.fixture
def write(case, tmp_path):
    def write(case=case, **options):
        hugging_face.write(
            tmp_path / "m",
            case.config,
            case.weights().__getitem__,
            b"vocabulary",
            **options,
        )
        return tmp_path / "m"

    return write


@pytest.fixture
def sharded(write):
    return write(shard_bytes=9000)


def edit(path, **changes):
    values = json.loads(path.read_text()) | changes
    kept = {key: value for key, value in values.items() if value is not None}
    path.write_text(json.dumps(kept))


def assert_is(checkpoint, case):
    for name, value in case.weights().items():
        np.testing.assert_array_equal(checkpoint.weights(name), value)


@pytest.mark.parametrize("name", ["t5_1_1", "t5_1_0", "tied_gated"])
def test_shards_round_trip_bit_equal(write, name):
    case = CASES[name]
    folder = write(case, shard_bytes=2000)
    shards = sorted(folder.glob("*.safetensors"))
    assert len(shards) > 2
    assert shards[0].name == f"model-00001-of-{len(shards):05d}.safetensors"
    for shard in shards:
        weights = safetensors.numpy.load_file(shard).values()
        # A weight that is larger than a shard has one of its own.
        size = sum(weight.nbytes for weight in weights)
        assert size <= 2000 or len(weights) == 1
    checkpoint = hugging_face.read(folder)
    assert checkpoint.files == tuple(shards)
    assert_is(checkpoint, case)


def test_a_new_folder_leaves_no_file_of_the_old(write):
    write(shard_bytes=9000)
    folder = write()
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "spiece.model",
    ]


def test_the_library_reads_what_is_written(write, case):
    stored = safetensors.numpy.load_file(write() / "model.safetensors")
    table = case.weights()["shared/embedding"]
    np.testing.assert_array_equal(stored["shared.weight"], table)
    q = case.weights()["encoder/block_001/layer_000/SelfAttention/q"]
    np.testing.assert_array_equal(
        stored["encoder.block.1.layer.0.SelfAttention.q.weight"],
        q.reshape(16, 12).T,
    )


def test_a_missing_shard_is_named(sharded):
    shard = sorted(sharded.glob("*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=f"has no {shard.name}, a sh"):
        hugging_face.read(sharded)


def test_a_shard_of_a_wrong_length_is_named(sharded):
    shard = sorted(sharded.glob("*.safetensors"))[1]
    whole = shard.read_bytes()
    for damaged in (whole[:-1], whole + b"\0", whole[:7]):
        shard.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{shard.name} is not a compl"):
            hugging_face.read(sharded)


def test_an_index_that_disagrees_with_its_shards_is_refused(sharded):
    index = json.loads((sharded / INDEX).read_text())["weight_map"]
    first, second = sorted(set(index.values()))[:2]
    key = next(key for key, file in index.items() if file == first)
    for changed, message in (
        (index | {key: second}, "which does not hold it"),
        (index | {"stray.weight": first}, "'stray.weight' lies in"),
        ({k: v for k, v in index.items() if k != key}, "does not name"),
        (index | {key: "../elsewhere"}, "files of its own folder"),
        ({}, "has no `weight_map`"),
    ):
        edit(sharded / INDEX, weight_map=changed)
        with pytest.raises(ValueError, match=message):
            hugging_face.read(sharded)


def test_a_key_in_two_shards_is_refused(sharded):
    first, second = sorted(sharded.glob("*.safetensors"))[:2]
    stored = safetensors.numpy.load_file(first)
    key = next(iter(stored))
    both = safetensors.numpy.load_file(second) | {key: stored[key]}
    safetensors.numpy.save_file(both, second)
    with pytest.raises(ValueError, match=f"'{key}' is both in {first.name}"):
        hugging_face.read(sharded)


def test_one_file_and_an_index_together_are_refused(sharded):
    (sharded / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"has both model\.safetensors and"):
        hugging_face.read(sharded)


def test_pickled_weights_are_refused_with_the_way_to_convert(write):
    folder = write()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert hugging_face.recognizes(folder)
    with pytest.raises(ValueError, match=r"python -c \"from transformers im"):
        hugging_face.read(folder)


def add_copy(folder, difference=0):
    """Of the table, as the encoder's own, which transformers may store."""
    path = folder / "model.safetensors"
    tensors = safetensors.numpy.load_file(path)
    table = tensors["shared.weight"] + np.float32(difference)
    tensors["encoder.embed_tokens.weight"] = table
    safetensors.numpy.save_file(tensors, path)


@pytest.mark.parametrize(
    "values",
    [
        # Version 5 of transformers writes a T5 1.1 so.
        {"tie_word_embeddings": True, "scale_decoder_outputs": False},
        {"model_type": "mt5", "feed_forward_proj": None},
        {
            "model_type": "mt5",
            "tie_word_embeddings": True,
            "transformers_version": "5.23.0",
        },
        {"is_gated_act": True, "dense_act_fn": "gelu_new"},
        {"torch_dtype": None, "dtype": "float32"},
        {"pad_token_id": None, "eos_token_id": 1},
    ],
)
def test_every_versions_config_is_read(write, case, values):
    folder = write()
    edit(folder / "config.json", **values)
    add_copy(folder)
    checkpoint = hugging_face.read(folder)
    assert checkpoint.config == case.config
    assert_is(checkpoint, case)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tie_word_embeddings": True}, "'lm_head.weight' must be a copy"),
        ({"is_gated_act": True, "dense_act_fn": "gelu"}, "'gelu_new'. Re"),
        ({"is_gated_act": False}, "`is_gated_act` must be True"),
        ({"d_kv": None}, "has no 'd_kv'"),
        ({"decoder_start_token_id": 2}, "T5's is 0, and"),
        ({"pad_token_id": 1}, "`pad_token_id` 1; T5's"),
        ({"eos_token_id": [1, 2]}, r"`eos_token_id` \[1, 2\]; T5"),
    ],
)
def test_a_config_of_no_t5_or_that_lacks_a_size_is_refused(
    write, values, message
):
    folder = write()
    edit(folder / "config.json", **values)
    with pytest.raises(ValueError, match=message):
        hugging_face.read(folder)


def test_a_copy_of_the_table_that_differs_is_refused(write):
    folder = write()
    add_copy(folder, difference=1)
    with pytest.raises(ValueError, match="must be a copy of"):
        hugging_face.read(folder)


def test_an_output_layer_that_is_the_table_unscaled_is_read_as_one(write, case):
    # transformers 5 shares the two in a T5 1.1 that it makes afresh.
    folder = write()
    edit(
        folder / "config.json",
        tie_word_embeddings=True,
        scale_decoder_outputs=False,
    )
    path = folder / "model.safetensors"
    tensors = safetensors.numpy.load_file(path)
    del tensors["lm_head.weight"]
    safetensors.numpy.save_file(tensors, path)
    checkpoint = hugging_face.read(folder)
    assert not checkpoint.config.is_tied
    np.testing.assert_array_equal(
        checkpoint.weights("decoder/logits/kernel"),
        case.weights()["shared/embedding"].T,
    )


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_a_table_under_a_stack_s_name_alone_is_the_table(write, case, stack):
    folder = write()
    file = folder / "model.safetensors"
    tensors = safetensors.numpy.load_file(file)
    tensors[f"{stack}.embed_tokens.weight"] = tensors.pop("shared.weight")
    safetensors.numpy.save_file(tensors, file)
    assert_is(hugging_face.read(folder), case)


def test_more_layers_than_weights_are_refused_at_once(write):
    folder = write()
    edit(folder / "config.json", num_layers=10**9)
    with pytest.raises(ValueError, match=r"asks for 1\d+ layers"):
        hugging_face.read(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("feed_forward_proj", ["relu"]),
        ("feed_forward_proj", {}),
        ("layer_norm_epsilon", "1e-6"),
        ("layer_norm_epsilon", [1e-6]),
    ],
)
def test_settings_of_another_kind_are_refused(write, key, value):
    folder = write()
    edit(folder / "config.json", **{key: value})
    with pytest.raises(ValueError, match=key):
        hugging_face.read(folder)


def test_json_without_an_end_is_refused(write):
    folder = write()
    (folder / "config.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="is not JSON"):
        hugging_face.read(folder)


def test_float16_becomes_float32(write, case):
    path = write() / "model.safetensors"
    tensors = safetensors.numpy.load_file(path)
    halved = {key: value.astype(np.float16) for key, value in tensors.items()}
    safetensors.numpy.save_file(halved, path)
    checkpoint = hugging_face.read(path.parent)
    assert checkpoint.dtype == "float16"
    for name, value in case.weights().items():
        read = checkpoint.weights(name)
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, value.astype(np.float16))


def test_integers_are_refused(write):
    path = write() / "model.safetensors"
    tensors = safetensors.numpy.load_file(path)
    tensors["shared.weight"] = tensors["shared.weight"].astype(np.int32)
    safetensors.numpy.save_file(tensors, path)
    with pytest.raises(ValueError, match="must hold float32, float16, bfloat"):
        hugging_face.read(path.parent)


def test_a_missing_tokenizer_is_said(write):
    folder = write()
    (folder / "spiece.model").unlink()
    with pytest.raises(FileNotFoundError, match=r"neither spiece\.model nor"):
        hugging_face.read(folder)


def test_mt5s_table_is_read(tmp_path):
    config = T5Config(250_112, 2, 1, 2, 1, 1, 1)
    table = {
        name: np.zeros([size for _, size in dimensions], np.float32)
        for name, dimensions in weight_table(config).items()
    }
    hugging_face.write(tmp_path / "m", config, table.__getitem__, b"")
    edit(tmp_path / "m" / "config.json", model_type="mt5")
    checkpoint = hugging_face.read(tmp_path / "m")
    assert checkpoint.weights("shared/embedding").shape == (250_112, 2)
