"""The stack on meshes of logical devices, against one device.

`oracles/mesh_run.py` runs in a process of its own, which has eight devices.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from oracles.mesh_run import LONGER, MESHES

from keras_prompt.models.layout import parse_layout
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.variables import dimension_sizes, weight_table

pytestmark = pytest.mark.slow
_PROGRAM = Path(__file__).parents[2] / "oracles" / "mesh_run.py"


@pytest.fixture(scope="module")
def config(tiny_tokenizer):
    rows = -(-tiny_tokenizer.vocabulary_size // 8) * 8
    return T5Config(rows, 16, 4, 32, 8, 2, 1)


@pytest.fixture(scope="module")
def results(tmp_path_factory, tiny_tokenizer):
    folder = tmp_path_factory.mktemp("meshes")
    tiny_tokenizer.save(folder / "spiece.model")
    found = subprocess.run(
        [sys.executable, _PROGRAM, folder / "spiece.model", folder],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


@pytest.mark.parametrize("name", MESHES)
def test_a_mesh_gives_what_one_device_gives(results, name):
    """Relative to the largest number, in float32."""
    difference = results[name]["difference"]
    assert {"logits", "loss", "gradient"} <= set(difference)
    assert max(difference.values()) < 1e-5, difference


@pytest.mark.parametrize("name", LONGER)
def test_fit_evaluate_export_and_generate_are_those_of_one_device(
    results, name
):
    trained = {"losses", "evaluated", "prompt", "scores", "predicted"}
    assert trained <= set(results[name]["difference"])
    assert results[name]["text"]


@pytest.mark.parametrize("name", LONGER)
def test_a_mesh_gives_what_one_device_gives_in_int8(results, name):
    difference = results[name]["int8"]
    assert set(difference) == {"logits", "loss", "gradient"}
    assert max(difference.values()) < 1e-5, difference


@pytest.mark.parametrize("name", MESHES)
def test_each_device_holds_its_slices_and_no_more(results, config, name):
    layout = parse_layout(*MESHES[name], dimension_sizes(config))
    expected = 4 * sum(
        int(np.prod(layout.slice_shape(dimensions)))
        for dimensions in weight_table(config).values()
    )
    held = results[name]["bytes"]
    assert len(held) == layout.device_count
    assert set(held.values()) == {expected}


@pytest.mark.parametrize("name", MESHES)
def test_weights_are_counted_once_and_have_one_fingerprint(results, name):
    for fact in ("fingerprint", "report", "counts", "table"):
        assert results[name][fact], fact


@pytest.mark.parametrize("name", LONGER)
def test_xla_is_refused_for_a_step_on_several_devices(results, name):
    assert "this model was made for 4. Leave it out" in results[name]["said"]
