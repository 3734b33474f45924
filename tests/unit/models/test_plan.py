"""What a plan says of memory, against sizes by hand and a measured step."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from oracles.memory_run import (
    D_KV,
    LAYERS,
    PROMPT_LENGTH,
    TARGET_LENGTH,
)

from keras_prompt.models.layout import Layout, parse_layout
from keras_prompt.models.plan import (
    Batch,
    activation_bytes,
    plan,
    state_bytes,
    weight_bytes,
)
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.presets import PRESETS
from keras_prompt.models.t5.variables import dimension_sizes, parameter_count

_PROGRAM = Path(__file__).parents[2] / "oracles" / "memory_run.py"
XXL = PRESETS["t5_1_1_xxl_lm100k"].config


def test_one_device_holds_every_weight():
    assert weight_bytes(XXL, Layout(), "bfloat16") == 2 * parameter_count(XXL)
    assert weight_bytes(XXL, Layout(), "float32") == 4 * parameter_count(XXL)


def test_int8_is_counted_with_its_scales():
    # 11,135,332,352 numbers (Lester et al., table 4), 3 more bytes for each of
    # 503,808 in norms and biases, and 4 for each of 2,423,552 channels.
    assert weight_bytes(XXL, Layout(), "int8") == 11_146_537_984


def test_a_mesh_divides_what_it_splits():
    layout = parse_layout(
        "model:4", "heads:model;d_ff:model;vocab:model", dimension_sizes(XXL)
    )
    # All but the norms: 24 blocks of 2 and of 3, and one at each stack's end.
    norms = 4096 * (24 * 2 + 24 * 3 + 2)
    split = parameter_count(XXL) - norms
    assert weight_bytes(XXL, layout, "bfloat16") == 2 * (norms + split // 4)


def test_state_is_prompt_gradient_and_slots():
    # Not factored below 128 rows: three matrices of (100, 4096).
    assert state_bytes(XXL, Batch()) == 4 * 3 * 100 * 4096
    long = Batch(prompt_length=150)
    assert state_bytes(XXL, long) == 4 * (2 * 150 * 4096 + 150 + 4096)


def test_the_batch_is_split_before_the_model():
    small = PRESETS["t5_1_1_small_lm100k"].config
    found = plan(small, 8, 16 * 10**9, Batch())
    assert (found.mesh_shape, found.layout) == ("batch:8", "batch:batch")
    assert found.fits


def test_a_model_too_large_for_a_device_is_split():
    found = plan(XXL, 8, 16 * 10**9, Batch(rows=16), rematerialize=True)
    assert found.mesh_shape == "batch:2;model:4"
    assert found.fits
    assert found.total <= 0.9 * 16 * 10**9


def test_what_does_not_fit_is_said_not_to():
    found = plan(XXL, 1, 16 * 10**9, Batch())
    assert not found.fits
    assert found.mesh_shape == ""
    assert found.weights == 2 * parameter_count(XXL)


def test_a_layout_leaves_out_what_does_not_divide():
    small = PRESETS["t5_1_1_small_lm100k"].config  # six heads
    found = plan(small, 4, 10**8, Batch(rows=1, input_length=16))
    assert found.mesh_shape == "model:4"
    assert found.layout == "d_ff:model;vocab:model"


def test_every_plan_is_a_mesh_that_from_preset_takes():
    for preset in PRESETS.values():
        for devices in (1, 2, 3, 4, 6, 8):
            found = plan(preset.config, devices, 10**9, Batch())
            sizes = dimension_sizes(preset.config)
            layout = parse_layout(found.mesh_shape, found.layout, sizes)
            assert layout.device_count == devices


def measured(config, batch, rematerialize, dtype="float32"):
    sizes = (
        config.d_model,
        config.d_ff,
        config.num_heads,
        config.vocab_size,
        batch.rows,
        batch.input_length,
        int(rematerialize),
    )
    found = subprocess.run(
        [sys.executable, _PROGRAM, *map(str, sizes), dtype],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    return int(found.stdout)


def estimated(config, batch, rematerialize, dtype="float32"):
    return (
        weight_bytes(config, Layout(), dtype)
        + activation_bytes(config, Layout(), batch, dtype, rematerialize)
        + state_bytes(config, batch)
    )


@pytest.mark.slow
def test_the_estimate_is_within_15_percent_of_a_measured_step():
    """Less what the same graph takes with nothing in it: code, the trace."""
    tiny = T5Config(32, 8, D_KV, 8, 1, LAYERS, LAYERS)
    model = T5Config(8128, 512, D_KV, 1024, 8, LAYERS, LAYERS)
    nothing = Batch(1, 4, TARGET_LENGTH, PROMPT_LENGTH)
    batch = Batch(12, 256, TARGET_LENGTH, PROMPT_LENGTH)
    ground = measured(tiny, nothing, False) - estimated(tiny, nothing, False)
    peaks = {}
    for rematerialize in (False, True):
        peaks[rematerialize] = measured(model, batch, rematerialize) - ground
        np.testing.assert_allclose(
            estimated(model, batch, rematerialize),
            peaks[rematerialize],
            rtol=0.15,
        )
    # Computing again takes less memory than keeping.
    assert peaks[True] < 0.75 * peaks[False]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16"])
def test_weights_in_two_types_are_counted_in_both(dtype):
    """Of a model that is large beside its activations."""
    tiny = T5Config(32, 8, D_KV, 8, 1, LAYERS, LAYERS)
    model = T5Config(8128, 1024, D_KV, 2048, 16, LAYERS, LAYERS)
    batch = Batch(1, 32, TARGET_LENGTH, PROMPT_LENGTH)
    small = estimated(tiny, batch, False, dtype)
    ground = measured(tiny, batch, False, dtype) - small
    np.testing.assert_allclose(
        estimated(model, batch, False, dtype),
        measured(model, batch, False, dtype) - ground,
        rtol=0.15,
    )


@pytest.mark.slow
def test_int8_is_counted_with_its_output_layer_widened():
    """127 MiB of float32, more than all weights are in int8."""
    tiny = T5Config(32, 8, D_KV, 8, 1, LAYERS, LAYERS)
    model = T5Config(32_512, 1024, D_KV, 512, 8, LAYERS, LAYERS)
    batch = Batch(1, 32, TARGET_LENGTH, PROMPT_LENGTH)
    small = estimated(tiny, batch, False, "int8")
    ground = measured(tiny, batch, False, "int8") - small
    np.testing.assert_allclose(
        estimated(model, batch, False, "int8"),
        measured(model, batch, False, "int8") - ground,
        rtol=0.15,
    )
