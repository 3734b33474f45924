"""Quantised weights: how far off, how small, and the same answers."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from oracles.stack_cases import CASES, run_ours

from keras_prompt.export.prompt import export_prompt, load_prompt
from keras_prompt.models.layout import Layout
from keras_prompt.models.mesh import PlacementMeshImpl, mtf
from keras_prompt.models.mesh.int8_einsum import int8_einsum
from keras_prompt.models.plan import weight_bytes
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.int8 import (
    dequantise,
    quantise,
    scale_name,
    scale_table,
)
from keras_prompt.models.t5.presets import PRESETS
from keras_prompt.models.t5.variables import parameter_count, weight_table

CONFIG = T5Config(16, 4, 4, 4, 1, 1, 1)


def dequantised(case):
    """A case's weights as the int8 model knows them, in float32."""
    scales = scale_table(case.config)
    weights = case.weights()
    for name, dimensions in weight_table(case.config).items():
        if scale_name(name) in scales:
            stored = quantise(name, dimensions, weights[name])
            weights[name] = dequantise(name, dimensions, *stored)
    return weights


def test_a_kernel_of_whole_numbers_is_kept_exactly():
    kernel = np.array([[127, 254, 0], [-1, -2, 0]], np.float32)
    name, dimensions = "a/wo/kernel", (("d_ff", 2), ("d_model", 3))
    stored, scale = quantise(name, dimensions, kernel)
    np.testing.assert_array_equal(stored, [[127, 127, 0], [-1, -1, 0]])
    np.testing.assert_array_equal(scale[:2], [1, 2])
    assert stored.dtype == np.int8
    assert scale.dtype == np.float32
    found = dequantise(name, dimensions, stored, scale)
    np.testing.assert_array_equal(found, kernel)


@pytest.mark.parametrize("name", ["t5_1_1", "t5_1_0"])
def test_every_weight_is_off_by_at_most_half_a_step(name, monkeypatch):
    # Blocks of a few rows, so that several are needed.
    monkeypatch.setattr("keras_prompt.models.t5.int8._BLOCK", 50)
    case = CASES[name]
    scales = scale_table(case.config)
    for weight, dimensions in weight_table(case.config).items():
        if scale_name(weight) not in scales:
            assert weight.endswith(("/scale", "/relative_attention_bias"))
            continue
        value = case.weights()[weight]
        stored, scale = quantise(weight, dimensions, value)
        assert scale.shape == tuple(
            size for _, size in scales[scale_name(weight)]
        )
        assert stored.min() >= -127
        found = dequantise(weight, dimensions, stored, scale)
        ones = np.ones(value.shape, np.int8)
        step = dequantise(weight, dimensions, ones, scale)
        assert (np.abs(found - value) <= step * 0.50001).all()
        # In every channel the largest number is 127 or -127.
        largest = dequantise(weight, dimensions, 127 * ones, scale)
        assert (np.abs(found) == largest).sum() >= scale.size


@pytest.mark.parametrize("name", CASES)
def test_logits_loss_and_prompt_gradient_equal_the_dequantised_models(name):
    case = CASES[name]
    exact = MeshT5Backbone(case.config, weights=dequantised(case).__getitem__)
    expected = run_ours(exact, case.batch())
    ours = run_ours(case.backbone(dtype="int8"), case.batch())
    for quantity, value in expected.items():
        np.testing.assert_allclose(
            ours[quantity], value, rtol=1e-4, atol=1e-4, err_msg=quantity
        )


def test_the_prompts_gradient_is_the_numerical_one_of_the_dequantised_model():
    case = CASES["t5_1_1"]
    float_weights = MeshT5Backbone(case.config, seed=3)
    quantised = MeshT5Backbone(case.config, seed=3, dtype="int8")
    scales = scale_table(case.config)

    def weights(name):
        value = float_weights.weight(name).numpy()
        if scale_name(name) not in scales:
            return value
        dimensions = weight_table(case.config)[name]
        return dequantise(name, dimensions, *quantise(name, dimensions, value))

    exact = MeshT5Backbone(case.config, weights=weights)
    batch = case.batch()
    gradient = run_ours(quantised, batch)["gradient"]
    direction = gradient / np.linalg.norm(gradient)

    def loss(step):
        moved = batch | {"prompt": batch["prompt"] + step * direction}
        return float(run_ours(exact, moved)["loss"])

    # Central differences of two widths, their error of order 2 cancelled.
    narrow, wide = ((loss(h) - loss(-h)) / (2 * h) for h in (0.03, 0.06))
    slope = (4 * narrow - wide) / 3
    assert slope == pytest.approx(np.linalg.norm(gradient), rel=1e-4, abs=1e-4)
    assert slope > 0.01


def test_kernels_are_resident_in_int8_and_nothing_grows():
    config = CASES["t5_1_1"].config
    backbone = CASES["t5_1_1"].backbone(dtype="int8")
    dtypes = {w.path: w.dtype for w in backbone.weights}
    for name in weight_table(config):
        is_float = name.endswith(("/scale", "/relative_attention_bias"))
        path = f"backbone/{name.replace('/', '.')}"
        assert dtypes[path] == ("float32" if is_float else "int8")
    size = sum(w.numpy().nbytes for w in backbone.weights)
    assert size == weight_bytes(config, Layout(), "int8")
    assert not backbone.trainable_weights


def test_xxl_fits_16_gb_with_room_for_its_largest_kernel_widened():
    config = PRESETS["t5_1_1_xxl_lm100k"].config
    widened = 4 * config.vocab_size * config.d_model
    assert weight_bytes(config, Layout(), "int8") + widened < 12e9


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_prompt_fits_the_float_and_the_int8_model_alike(
    tiny_tokenizer, tmp_path, dtype
):
    config = T5Config(tiny_tokenizer.vocabulary_size, 16, 4, 24, 2, 1, 1)
    models = [
        PromptTunedT5(
            MeshT5Backbone(config, seed=seed, dtype=kind), tiny_tokenizer, 3
        )
        for seed, kind in ((0, dtype), (0, "int8"), (1, "int8"))
    ]
    for source, target in (models[:2], models[1::-1]):
        export_prompt(source, tmp_path / "p")
        load_prompt(target, tmp_path / "p")
    with pytest.raises(ValueError, match="was tuned on"):
        load_prompt(models[2], tmp_path / "p")


# keras: it copies a variable with `np.array`, of which NumPy complains.
@pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")
def test_a_prompt_is_refused_where_int8_weights_became_others(
    tiny_tokenizer, tmp_path
):
    """Of what they were before quantisation, nothing tells."""
    config = T5Config(tiny_tokenizer.vocabulary_size, 16, 4, 24, 2, 1, 1)
    first, again, other = (
        PromptTunedT5(
            MeshT5Backbone(config, seed=seed, dtype="int8"), tiny_tokenizer, 3
        )
        for seed in (0, 0, 1)
    )
    weights = tmp_path / "first.weights.h5"
    first.save_weights(weights)
    export_prompt(first, tmp_path / "first")
    export_prompt(other, tmp_path / "other")
    again.load_weights(weights)  # equal ones
    load_prompt(again, tmp_path / "first")
    again.set_weights(other.get_weights())
    other.load_weights(weights)
    for model in (again, other):
        for prompt in ("first", "other"):
            with pytest.raises(ValueError, match="of the weights before they"):
                load_prompt(model, tmp_path / prompt)
    again.load_weights(weights)
    load_prompt(again, tmp_path / "first")


def test_tokens_are_embedded_with_their_rows_scales():
    backbone = MeshT5Backbone(CONFIG, dtype="int8")
    table = backbone.embedding_table()
    assert table.dtype == np.float32
    exact = MeshT5Backbone(CONFIG).embedding_table()
    assert 0 < np.abs(table - exact).max() < 0.02 * np.abs(exact).max()
    ids = np.array([[3, 15, 0]])
    np.testing.assert_array_equal(backbone.embed(ids), table[ids])


def test_what_int8_cannot_do_is_refused():
    with pytest.raises(ValueError, match="`trainable` must be False"):
        MeshT5Backbone(CONFIG, dtype="int8", trainable=True)
    backbone = MeshT5Backbone(CONFIG, dtype="int8")
    with pytest.raises(ValueError, match="Load the model with dtype='float32'"):
        backbone.weight("shared/embedding")
    assert backbone.weight("decoder/final_layer_norm/scale").shape == (4,)

    def weights(name):
        shape = [size for _, size in weight_table(CONFIG)[name]]
        return np.full(shape, np.nan, np.float32)

    with pytest.raises(ValueError, match=r"'shared/embedding' holds numbers"):
        MeshT5Backbone(CONFIG, dtype="int8", weights=weights)


def test_a_saved_model_of_an_int8_backbone_answers_the_same(tmp_path):
    backbone = MeshT5Backbone(CONFIG, dtype="int8")
    module = tf.Module()
    module.variables_kept = [w.value for w in backbone.weights]
    module.run = tf.function(
        lambda ids: backbone(backbone.embed(ids), ids > 0, ids),
        input_signature=[tf.TensorSpec([None, None], tf.int32)],
        autograph=False,
    )
    ids = tf.constant([[3, 4, 5], [7, 1, 0]])
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_allclose(
        loaded.run(ids), module.run(ids), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("layout", ["", "d_ff:model", "d_model:model"])
def test_a_product_is_the_same_on_a_kernel_cut_in_two(layout):
    """`d_model` is summed over by the product, `d_ff` by its gradient."""
    random = np.random.RandomState(0)
    x = random.standard_normal((3, 4)).astype(np.float32)
    upstream = random.standard_normal((3, 6)).astype(np.float32)
    kernel = random.randint(-127, 128, (4, 6)).astype(np.int8)

    graph = mtf.Graph()
    mesh = mtf.Mesh(graph, "mesh")
    batch, d_model, d_ff = (
        mtf.Dimension(name, size)
        for name, size in (("batch", 3), ("d_model", 4), ("d_ff", 6))
    )

    def enter(value, *dimensions):
        tensor = tf.constant(value)
        return mtf.import_tf_tensor(mesh, tensor, mtf.Shape(dimensions))

    entered = enter(x, batch, d_model)
    product = int8_einsum(entered, enter(kernel, d_model, d_ff))
    (back,) = mtf.gradients(
        [product], [entered], [enter(upstream, batch, d_ff)]
    )
    implementation = PlacementMeshImpl(
        mtf.convert_to_shape("model:2"),
        mtf.convert_to_layout_rules(layout),
        ["", ""],
    )
    lowering = mtf.Lowering(graph, {mesh: implementation}, autostack=False)
    for tensor, expected in (
        (product, x @ kernel.astype(np.float32)),
        (back, upstream @ kernel.T.astype(np.float32)),
    ):
        found = lowering.export_to_tf_tensor(tensor)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


_MEASURE = """
import sys
import numpy as np
import tensorflow as tf
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.variables import weight_table

config = T5Config(8000, 1024, 64, 2816, 16, 5, 3)
table = weight_table(config)

def status(field):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(l.split()[1]) for l in lines if l.startswith(field)) / 1024

def weights(name):
    return np.full([size for _, size in table[name]], 1e-2, np.float32)

def gradient(prompt, ids):
    with tf.GradientTape() as tape:
        tape.watch(prompt)
        loss = tf.reduce_sum(backbone(prompt, ids > 0, ids) ** 2)
    return tape.gradient(loss, prompt)

tf.function(lambda x: tf.einsum("ab,bc->ac", x, x))(tf.ones([8, 8]))
open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
before = status("VmRSS")
backbone = MeshT5Backbone(config, dtype=sys.argv[1], weights=weights)
print(status("VmHWM") - before)
ids = tf.constant([[3, 4, 5]])
tf.function(gradient, autograph=False)(backbone.embed(ids), ids)
print(status("VmHWM") - before)
"""


def peak_mebibytes(dtype):
    """Of loading and of a forward and backward pass, in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, dtype],
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_loading_and_training_never_hold_the_float_weights():
    config = T5Config(8000, 1024, 64, 2816, 16, 5, 3)
    mebibyte = 2**20
    as_float = 4 * parameter_count(config) / mebibyte
    as_int8 = weight_bytes(config, Layout(), "int8") / mebibyte
    largest = 4 * config.vocab_size * config.d_model / mebibyte
    # TensorFlow's own code and the allocator's gaps, of a float32 model too.
    own = 64
    loaded, trained = peak_mebibytes("int8")
    assert as_int8 < loaded < as_int8 + largest + own
    # Two operations may run at a time.
    assert trained < as_int8 + 2 * largest + 2 * own
    assert (
        as_float < peak_mebibytes("float32")[0] < as_float + 2 * largest + own
    )
