"""Mesh TensorFlow's checkpoints: as T5 published them, and as written here."""

import dataclasses

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from oracles.mesh_tensorflow_files import stored_weights, write_step
from oracles.stack_cases import CASES

from keras_prompt.models.checkpoints import mesh_tensorflow
from keras_prompt.models.checkpoints.mesh_tensorflow_gin import read_bindings
from keras_prompt.models.t5.variables import weight_table

# As t5's trainer leaves it: scopes, macros, references, values over lines.
GIN = """
import t5.models.mesh_transformer
# Macros:
# ==========================
d_kv = 4
num_heads = 3

# Parameters for decoder/DenseReluDense:
decoder/DenseReluDense.activation = ['gelu', 'linear']
encoder/DenseReluDense.activation = ['gelu', 'linear']
decoder/EncDecAttention.relative_attention_type = None
decoder/LayerStack.norm_epsilon = None
decoder/make_layer_stack.layers = \\
    [@mesh_tensorflow.transformer.transformer_layers.SelfAttention,
     @mesh_tensorflow.transformer.transformer_layers.DenseReluDense]
decoder/SelfAttention.attention_func = None
decoder/SelfAttention.fold_scaling_into_initializer = True
decoder/SelfAttention.key_value_size = %d_kv
decoder/SelfAttention.num_heads = %num_heads
encoder/SelfAttention.num_heads = %num_heads
encoder/transformer_layers.SelfAttention.relative_attention_type = 'bias_shared'
run.sequence_length = {'inputs': 512, 'targets': 128}
"""


@pytest.fixture(params=["t5_1_1", "t5_1_0", "deep_encoder_odd_heads"])
def case(request):
    return CASES[request.param]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "spiece.model").write_bytes(b"vocabulary")
    return tmp_path


def assert_is(checkpoint, case):
    assert weight_table(checkpoint.config) == weight_table(case.config)
    assert checkpoint.config.is_tied == case.config.is_tied
    assert checkpoint.vocabulary == b"vocabulary"
    for name, value in case.weights().items():
        np.testing.assert_array_equal(checkpoint.weights(name), value)


@pytest.mark.parametrize("norms", ["layer_norm", "rms_norm"])
@pytest.mark.parametrize("is_fused", [True, False])
def test_every_published_layout_is_read_bit_equal(
    case, folder, norms, is_fused
):
    stored = stored_weights(case.weights(), norms=norms, is_fused=is_fused)
    write_step(folder, stored)
    assert mesh_tensorflow.recognizes(folder)
    assert_is(mesh_tensorflow.read(folder), case)


def test_a_written_checkpoint_is_read_bit_equal(case, tmp_path):
    mesh_tensorflow.write(
        tmp_path / "m",
        case.config,
        case.weights().__getitem__,
        b"vocabulary",
        part_bytes=3000,
    )
    assert len(list((tmp_path / "m").glob("*.data-*"))) > 2
    assert_is(mesh_tensorflow.read(tmp_path / "m"), case)


def test_what_is_written_is_what_mesh_tensorflow_writes(case, tmp_path):
    mesh_tensorflow.write(
        tmp_path / "m",
        case.config,
        case.weights().__getitem__,
        b"vocabulary",
        step=1_100_000,
    )
    path = tf.train.latest_checkpoint(tmp_path / "m")
    assert path.endswith("model.ckpt-1100000")
    reader = tf.train.load_checkpoint(path)
    expected = stored_weights(case.weights())
    names = set(reader.get_variable_to_shape_map())
    assert names == {*expected, "global_step"}
    assert reader.get_tensor("global_step") == 1_100_000
    for name, value in expected.items():
        np.testing.assert_array_equal(reader.get_tensor(name), value)


def test_bfloat16_is_kept_and_halves_the_files(case, tmp_path):
    for dtype in ("float32", "bfloat16"):
        mesh_tensorflow.write(
            tmp_path / dtype,
            case.config,
            case.weights().__getitem__,
            b"",
            dtype,
        )
    whole, half = (
        mesh_tensorflow.read(tmp_path / dtype)
        for dtype in ("float32", "bfloat16")
    )
    assert half.dtype == "bfloat16"
    assert half.bytes_on_disk < 0.75 * whole.bytes_on_disk
    for name, value in case.weights().items():
        np.testing.assert_array_equal(
            half.weights(name), value.astype(ml_dtypes.bfloat16)
        )


def test_of_several_steps_the_one_asked_for_is_read(folder):
    case = CASES["t5_1_1"]
    stored = stored_weights(case.weights())
    write_step(folder, stored, 900)
    older = {name: value + 1 for name, value in stored.items()}
    path = write_step(folder, older, 1000)
    scale = "encoder/final_layer_norm/scale"

    def first(path):
        return mesh_tensorflow.read(path).weights(scale)[0]

    assert first(folder) == older[scale][0]  # the newest
    assert first(path.with_name("model.ckpt-900")) == stored[scale][0]
    (folder / "checkpoint").write_text(
        'model_checkpoint_path: "gs://somewhere/model.ckpt-900"\n'
    )
    assert first(folder) == stored[scale][0]
    (folder / "checkpoint").write_text(
        'model_checkpoint_path: "model.ckpt-77"\n'  # not copied along
    )
    assert first(folder) == older[scale][0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder/extra/kernel": np.ones((2, 2), "f")}, "a weight of no T5"),
        ({"shared/other_slot_v": np.ones(2, "f")}, "a weight of no T5"),
        ({"encoder/final_layer_norm/scale": np.ones(3, "f")}, "must have sha"),
        ({"encoder/final_layer_norm/scale": None}, r"or 'encoder/rms_norm/"),
        ({"encoder/rms_norm/scale": np.ones(16, "f")}, "must have one weight"),
        ({"shared/embedding": None}, "of 2 dimensions"),
        (
            {"encoder/final_layer_norm/scale": np.ones(16, np.int64)},
            "must hold float32 or bfloat16",
        ),
        (
            {"decoder/block_001/layer_001/EncDecAttention/k": None},
            "must have one weight 'decoder/block_001",
        ),
    ],
)
def test_other_weights_are_refused(folder, changes, message):
    stored = stored_weights(CASES["t5_1_1"].weights()) | changes
    write_step(folder, {k: v for k, v in stored.items() if v is not None})
    with pytest.raises(ValueError, match=message):
        mesh_tensorflow.read(folder)


def test_a_step_with_every_kind_of_slot_is_read_without_them(folder):
    case = CASES["t5_1_1"]
    path = write_step(folder, stored_weights(case.weights()))
    names = [name for name, _ in tf.train.list_variables(str(path))]
    kinds = {name.rsplit("_slot_", 1)[1] for name in names if "_slot_" in name}
    assert kinds == {"v", "vr", "vc"}
    assert_is(mesh_tensorflow.read(folder), case)


def test_damaged_and_absent_files_are_refused(folder):
    path = write_step(folder, stored_weights(CASES["t5_1_1"].weights()))
    data = folder / f"{path.name}.data-00000-of-00001"
    whole = data.read_bytes()
    data.write_bytes(whole[:-9])
    with pytest.raises(ValueError, match="bytes of data; its index asks for"):
        mesh_tensorflow.read(folder)
    data.write_bytes(whole[:99] + bytes([whole[99] ^ 1]) + whole[100:])
    with pytest.raises(ValueError, match="'shared/embedding' cannot be read"):
        mesh_tensorflow.read(folder).weights("shared/embedding")
    data.write_bytes(whole)
    checkpoint = mesh_tensorflow.read(folder)
    data.write_bytes(b"")
    with pytest.raises(ValueError, match="'shared/embedding' cannot be read"):
        checkpoint.weights("shared/embedding")
    data.write_bytes(whole)
    data.rename(folder / f"{path.name}.data-00000-of-00002")
    with pytest.raises(FileNotFoundError, match="must have 2 data files"):
        mesh_tensorflow.read(folder)
    (folder / f"{path.name}.index").write_bytes(b"no index")
    (folder / f"{path.name}.data-00000-of-00002").rename(data)
    with pytest.raises(ValueError, match="no complete TensorFlow checkpoint"):
        mesh_tensorflow.read(folder)


def test_a_missing_vocabulary_is_said_where_to_find(folder):
    write_step(folder, stored_weights(CASES["t5_1_1"].weights()))
    (folder / "spiece.model").rename(folder / "cc_all.32000.model")
    assert mesh_tensorflow.read(folder).vocabulary == b"vocabulary"
    (folder / "second.model").write_bytes(b"")
    with pytest.raises(ValueError, match="must have one vocabulary"):
        mesh_tensorflow.read(folder)
    for path in folder.glob("*.model"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"gs://t5-data/vocabs/cc_all"):
        mesh_tensorflow.read(folder)


def test_gin_bindings_are_read_without_gin(tmp_path):
    (tmp_path / "g.gin").write_text(GIN)
    bindings = read_bindings(tmp_path / "g.gin")
    assert bindings["SelfAttention.num_heads"] == [3]
    assert bindings["DenseReluDense.activation"] == [["gelu", "linear"]]
    assert bindings["SelfAttention.relative_attention_type"] == ["bias_shared"]
    assert bindings["run.sequence_length"] == [{"inputs": 512, "targets": 128}]


@pytest.mark.parametrize("text", ["{[]: 1}", "-" * 20_000 + "1", "(" * 999])
def test_what_is_no_literal_of_gin_stays_text(tmp_path, text):
    (tmp_path / "g.gin").write_text(f"Layer.size = {text}\n")
    assert read_bindings(tmp_path / "g.gin")["Layer.size"] == [text]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("", "", None),
        ("num_heads = 3", "num_heads = 2", r"num_heads = 2; .* has 3"),
        ("'gelu', 'linear'", "'silu', 'linear'", r"\['silu', 'linear'\]"),
        ("initializer = True", "initializer = False", "fold_scaling_into"),
        ("'bias_shared'", "'bias'", "relative_attention_type = 'bias'"),
        ("norm_epsilon = None", "norm_epsilon = 0.1", "norm_epsilon = 0.1"),
    ],
)
def test_a_gin_file_of_another_model_is_refused(folder, old, new, message):
    case = CASES["t5_1_1"]
    write_step(folder, stored_weights(case.weights()))
    (folder / "operative_config.gin").write_text(GIN.replace(old, new))
    if message is None:
        mesh_tensorflow.read(folder)
        return
    with pytest.raises(ValueError, match=message):
        mesh_tensorflow.read(folder)


@pytest.mark.parametrize(
    "change", [{"max_distance": 64}, {"layer_norm_epsilon": 1e-3}]
)
def test_what_the_format_cannot_say_is_not_written(tmp_path, change):
    case = CASES["t5_1_1"]
    config = dataclasses.replace(case.config, **change)
    with pytest.raises(ValueError, match="has no Mesh TensorFlow checkpoint"):
        mesh_tensorflow.write(tmp_path / "m", config, case.weights().get, b"")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_folder(tmp_path):
    case = CASES["t5_1_1"]
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "old").write_text("kept")

    def weights(name):
        if name.startswith("decoder"):
            raise ValueError("the disk is gone")
        return case.weights()[name]

    with pytest.raises(ValueError, match="the disk is gone"):
        mesh_tensorflow.write(tmp_path / "m", case.config, weights, b"")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert (tmp_path / "m" / "old").read_text() == "kept"
    with pytest.raises(ValueError, match="`dtype` must be one of float32, b"):
        mesh_tensorflow.write(
            tmp_path / "n", case.config, case.weights().get, b"", "float64"
        )
