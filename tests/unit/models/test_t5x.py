"""T5X's zarr folders and msgpack files: real samples and written ones."""

import gzip
import json

import flax.serialization
import ml_dtypes
import msgpack
import numpy as np
import pytest
from oracles.stack_cases import CASES
from oracles.t5x_files import flat_weights, write_file, write_folder

from keras_prompt.models.checkpoints import t5x
from keras_prompt.models.checkpoints.t5x_names import key_of
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.variables import weight_table

PROMPT = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture(params=["t5_1_1", "t5_1_0", "deep_encoder_odd_heads"])
def case(request):
    return CASES[request.param]


@pytest.fixture
def flat(case):
    return flat_weights(case.weights())


@pytest.fixture(params=["folder", "file"])
def write(request):
    return write_folder if request.param == "folder" else write_file


@pytest.fixture
def place(tmp_path):
    (tmp_path / "spiece.model").write_bytes(b"vocabulary")
    return tmp_path / "checkpoint_7"


def same_sizes(config, other):
    return weight_table(config) == weight_table(other)


def test_a_checkpoint_is_read_bit_equal(case, flat, write, place):
    write(place, flat)
    assert t5x.recognizes(place)
    checkpoint = t5x.read(place)
    assert same_sizes(checkpoint.config, case.config)
    assert checkpoint.config.is_tied == case.config.is_tied
    assert checkpoint.vocabulary == b"vocabulary"
    for name, value in case.weights().items():
        np.testing.assert_array_equal(checkpoint.weights(name), value)


def test_bfloat16_stays_bfloat16(case, flat, write, place):
    halved = {k: v.astype(ml_dtypes.bfloat16) for k, v in flat.items()}
    write(place, halved)
    weights = t5x.read(place).weights
    for name, value in case.weights().items():
        assert weights(name).dtype == ml_dtypes.bfloat16
        expected = value.astype(ml_dtypes.bfloat16)
        np.testing.assert_array_equal(weights(name), expected)


def test_arrays_in_flax_chunks_are_joined(case, flat, place, monkeypatch):
    monkeypatch.setattr(flax.serialization, "MAX_CHUNK_SIZE", 128)
    write_file(place, flat)
    assert b"__msgpack_chunked_array__" in place.read_bytes()
    weights = t5x.read(place).weights
    for name, value in case.weights().items():
        np.testing.assert_array_equal(weights(name), value)


def test_the_prompt_is_skipped_and_read_apart(flat, write, place):
    write(place, flat)
    with pytest.raises(ValueError, match="must have one prompt"):
        t5x.read_prompt(place)
    other = place.with_name("checkpoint_8")
    write(other, flat | {"encoder/prompt/prompt/prompt": PROMPT})
    t5x.read(other)
    prompt = t5x.read_prompt(other)
    assert prompt.dtype == np.float32
    np.testing.assert_array_equal(prompt, PROMPT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder/extra/kernel": np.ones((2, 2), np.float32)}, "of no T5"),
        ({"encoder/encoder_norm/scale": np.ones(3, np.float32)}, "must have s"),
        ({"decoder/layers_0/mlp/wo/kernel": None}, "has no weight"),
        ({"token_embedder/embedding": None}, "of two dimensions"),
        ({"encoder/encoder_norm/scale": "text"}, "is no array"),
    ],
)
def test_other_weights_are_refused(flat, place, changes, message):
    flat = {k: v for k, v in (flat | changes).items() if v is not None}
    write_file(place, flat)
    with pytest.raises(ValueError, match=message):
        t5x.read(place)


def test_truncated_files_are_refused(flat, place):
    write_folder(place, flat)
    chunk = place / "target.token_embedder.embedding" / "0.0"
    whole = chunk.read_bytes()
    for cut in (whole[:-9], b"", gzip.compress(b"short")):
        chunk.write_bytes(cut)
        with pytest.raises(ValueError, match=r"embedding/0\.0"):
            t5x.read(place).weights("shared/embedding")
    chunk.unlink()
    with pytest.raises(ValueError, match="absent or not a complete"):
        t5x.read(place).weights("shared/embedding")
    tree = place / "checkpoint"
    tree.write_bytes(tree.read_bytes()[:-9])
    with pytest.raises(ValueError, match="not a complete flax msgpack"):
        t5x.read(place)


def test_an_array_that_the_tree_does_not_name_is_refused(flat, place):
    write_folder(place, flat)
    (place / "target.stray").mkdir()
    with pytest.raises(ValueError, match=r"does not name its array target\."):
        t5x.read(place)


def test_other_zarr_settings_are_refused(flat, place):
    write_folder(place, flat)
    path = place / "target.token_embedder.embedding" / ".zarray"
    values = json.loads(path.read_text())
    for changes, message in (
        ({"order": "F"}, "`order` 'C'"),
        ({"zarr_format": 3}, "`zarr_format` 2"),
        ({"compressor": {"id": "blosc"}}, "`compressor` of gzip"),
        ({"compressor": "gzip"}, "no description of a float array"),
        ({"dtype": "|O"}, "no description of a float array"),
        ({"chunks": [0, 7]}, "must be positive integers"),
    ):
        path.write_text(json.dumps(values | changes))
        with pytest.raises(ValueError, match=message):
            t5x.read(place)


def test_maps_without_an_end_are_refused(place):
    place.write_bytes(b"\x81\xa1a" * 100_000 + b"\xc0")
    with pytest.raises(ValueError, match="not a complete flax msgpack file"):
        t5x.read(place)


def test_an_array_whose_place_is_no_map_is_refused(place):
    leaf = {"driver": "zarr", "kvstore": "elsewhere"}
    tree = {"optimizer": {"target": {"token_embedder": {"embedding": leaf}}}}
    place.write_bytes(msgpack.packb(tree))
    with pytest.raises(ValueError, match="must lie in a zarr folder"):
        t5x.read(place)


def test_an_extension_type_that_is_no_array_is_refused(place):
    place.write_bytes(msgpack.packb({"optimizer": msgpack.ExtType(9, b"x")}))
    with pytest.raises(ValueError, match="extension type 9 is no array"):
        t5x.read(place)


def test_what_is_not_there_is_said(flat, place):
    assert not t5x.recognizes(place)
    with pytest.raises(FileNotFoundError, match="has no T5X checkpoint"):
        t5x.read(place)
    write_file(place, flat)
    write_file(place.with_name("checkpoint_9"), flat)
    with pytest.raises(ValueError, match="must have one checkpoint"):
        t5x.read(place.parent)
    place.with_name("spiece.model").unlink()
    with pytest.raises(FileNotFoundError, match="has no vocabulary beside it"):
        t5x.read(place)


def test_mesh_tensorflows_checkpoint_file_is_not_taken(tmp_path):
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt"')
    assert not t5x.recognizes(tmp_path)


@pytest.fixture(params=["zarr", "msgpack"])
def sample(request, shared_data, tmp_path):
    source = {
        "zarr": "prompt_tuning/test_data/test_t5_1_1_tiny/checkpoint_3",
        "msgpack": "t5x_testdata/test_t5_tiny.checkpoint_0",
    }[request.param]
    (tmp_path / "checkpoint_3").symlink_to(shared_data / source)
    vocabulary = shared_data / "vocab" / "spiece.model"
    (tmp_path / "spiece.model").symlink_to(vocabulary)
    return tmp_path / "checkpoint_3"


def test_a_real_checkpoint_gives_every_weight_and_runs(sample):
    checkpoint = t5x.read(sample)
    config = checkpoint.config
    assert (config.vocab_size, config.num_encoder_layers) == (32128, 2)
    assert not config.is_tied
    backbone = MeshT5Backbone(config, weights=checkpoint.weights)
    ids = np.array([[8, 1782, 1]])
    logits = backbone(backbone.embed(ids), ids > 0, np.array([[0, 3]]))
    assert logits.shape == (1, 2, 32128)
    assert np.isfinite(logits).all()


def test_a_real_checkpoint_loads_by_its_path(sample):
    model = PromptTunedT5.from_preset(sample, prompt_length=4)
    assert model.backbone.config.num_decoder_layers == 2
    scores = model.score(["The film is great."], ["positive"])
    assert scores.shape == (1,)
    assert np.isfinite(scores).all()
    assert len(model.generate(["The film is great."], max_length=3)) == 1


def test_a_real_msgpack_file_is_what_flax_reads(shared_data, tmp_path):
    path = shared_data / "t5x_testdata" / "test_t5_tiny.checkpoint_0"
    (tmp_path / "spiece.model").write_bytes(b"")
    (tmp_path / "checkpoint_0").symlink_to(path)
    tree = flax.serialization.msgpack_restore(path.read_bytes())
    target = tree["optimizer"]["target"]
    checkpoint = t5x.read(tmp_path)
    for name, dimensions in weight_table(checkpoint.config).items():
        expected = target
        for part in key_of(name).split("/"):
            expected = expected[part]
        shape = [size for _, size in dimensions]
        np.testing.assert_array_equal(
            checkpoint.weights(name), expected.reshape(shape)
        )


def test_a_real_zarr_array_is_what_tensorstore_reads(shared_data, tmp_path):
    tensorstore = pytest.importorskip("tensorstore")
    folder = shared_data / "prompt_tuning/test_data/test_t5_1_1_tiny"
    folder = folder / "checkpoint_3"
    (tmp_path / "spiece.model").write_bytes(b"")
    (tmp_path / "checkpoint_3").symlink_to(folder)
    checkpoint = t5x.read(tmp_path / "checkpoint_3")
    for name, key in (
        ("shared/embedding", "token_embedder.embedding"),
        ("decoder/logits/kernel", "decoder.logits_dense.kernel"),
        (
            "encoder/block_001/layer_001/DenseReluDense/wo/kernel",
            "encoder.layers_1.mlp.wo.kernel",
        ),
    ):
        path = str(folder / f"target.{key}")
        spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": path}}
        expected = tensorstore.open(spec, read=True).result().read().result()
        np.testing.assert_array_equal(checkpoint.weights(name), expected)
