"""Peak memory of loading: the final weights and one weight more.

A checkpoint of over 1 GB is loaded in a process of its own, and smaller ones
in other formats. The largest weights are the embedding table, read first, and
the output layer, read last, when all others are in memory.
"""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from keras_prompt.models.checkpoints import formats, hugging_face
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.variables import parameter_count, weight_table

LARGE = T5Config(
    vocab_size=50_048,
    d_model=1024,
    d_kv=64,
    d_ff=2816,
    num_heads=16,
    num_encoder_layers=7,
    num_decoder_layers=6,
)
SMALL = dataclasses.replace(LARGE, num_encoder_layers=1, num_decoder_layers=1)
LARGEST = 50_048 * 1024
# What the allocator leaves between arrays that come and go, TensorFlow's
# threads, and the rows being read.
SLACK = 80 * 2**20
PROGRAM = """
import json, re, sys
from pathlib import Path

import numpy as np

from keras_prompt.models.checkpoints import formats
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config


def peak():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", status)[1])


folder, dtype = sys.argv[1:]
# TensorFlow's own memory comes with the first variable of each type.
MeshT5Backbone(T5Config(64, 8, 4, 8, 2, 1, 1), dtype=dtype)
before = peak()
checkpoint = formats.read(Path(folder))
backbone = MeshT5Backbone(
    checkpoint.config, weights=checkpoint.weights, dtype=dtype
)
peak_bytes = peak() - before
names = ("shared/embedding", "decoder/logits/kernel")
sums = [
    float(np.abs(backbone.weight(name).numpy()[:9, :9], dtype="f").sum())
    for name in names
]
print(json.dumps({"peak": peak_bytes, "sums": sums}))
"""


@pytest.fixture(scope="module")
def weights():
    """Numbers of which every weight takes its own piece."""
    numbers = np.random.default_rng(0).standard_normal(LARGEST + 2**16, "f")

    def read(name):
        shape = [size for _, size in weight_table(LARGE)[name]]
        start = len(name) * 256
        return numbers[start : start + int(np.prod(shape))].reshape(shape)

    return read


def measure(folder, dtype):
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), dtype],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(found.stdout.splitlines()[-1])


def check(measured, config, weights, itemsize, read_itemsize):
    final = itemsize * parameter_count(config)
    assert final < measured["peak"] + SLACK  # it did load them
    assert measured["peak"] < final + read_itemsize * LARGEST + SLACK
    for name, found in zip(
        ("shared/embedding", "decoder/logits/kernel"),
        measured["sums"],
        strict=True,
    ):
        expected = np.abs(weights(name)[:9, :9]).sum()
        assert found == pytest.approx(expected, rel=2**-8)


@pytest.mark.slow
def test_loading_1_gb_takes_the_weights_and_one_weight_more(
    tmp_path, weights, tiny_tokenizer
):
    folder, proto = tmp_path / "m", tiny_tokenizer.model_proto
    hugging_face.write(folder, LARGE, weights, proto)
    with pytest.warns(UserWarning, match=r"its embedding table 50,048 rows"):
        assert formats.read(folder).bytes_on_disk > 10**9
    whole = measure(folder, "float32")
    check(whole, LARGE, weights, 4, 4)
    half = measure(folder, "bfloat16")
    check(half, LARGE, weights, 2, 4)
    assert half["peak"] < 0.75 * whole["peak"]
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize("format", formats.WRITERS)
def test_bfloat16_storage_halves_all_of_it(
    tmp_path, weights, tiny_tokenizer, format
):
    folder, proto = tmp_path / "m", tiny_tokenizer.model_proto
    formats.WRITERS[format](folder, SMALL, weights, proto, "bfloat16")
    check(measure(folder, "bfloat16"), SMALL, weights, 2, 2)
    shutil.rmtree(folder)
