"""What int8 weights cost in accuracy and time, and what they save in memory.

Needs real sentences, SST-2's by default, prepared once, and Linux's /proc:

    keras-prompt tasks prepare glue/sst2 --from SST-2
    python benchmarks/int8.py
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import tensorflow as tf

from keras_prompt import tasks
from keras_prompt.models.layout import Layout
from keras_prompt.models.plan import weight_bytes
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.presets import PRESETS

DTYPES = ("float32", "bfloat16", "mixed_bfloat16", "int8")
_ROUNDS = 7
_GIBIBYTE, _MEBIBYTE = 2**30, 2**20


def main() -> None:
    """Prints losses, then memory and time, then the published sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="t5_1_1_nano_lm")
    parser.add_argument("--task", default="glue/sst2")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--data-dir")
    parser.add_argument("--size", default="small", help="of the random T5 1.1")
    parser.add_argument("--measure", choices=DTYPES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    config = PRESETS[f"t5_1_1_{options.size}"].config
    if options.measure:
        print(json.dumps(memory(config, options.measure)))
        return
    compare_losses(options)
    compare_cost(config, options.size)
    print("\nsize    GiB as float32  as int8")
    for size in ("small", "base", "large", "xl", "xxl"):
        config = PRESETS[f"t5_1_1_{size}"].config
        exact, quantised = (
            weight_bytes(config, Layout(), dtype) / _GIBIBYTE
            for dtype in ("float32", "int8")
        )
        print(f"{size:6}  {exact:14.2f}  {quantised:7.2f}")


def compare_losses(options: argparse.Namespace) -> None:
    """The mean loss of every sentence's second half, given its first."""
    task = tasks.get(options.task, data_dir=options.data_dir)
    rows = [e["inputs"].split() for e in task.examples(options.split)]
    rows = [words for words in rows if len(words) >= 4]
    inputs = [" ".join(words[: len(words) // 2]) for words in rows]
    targets = [" ".join(words[len(words) // 2 :]) for words in rows]
    print(
        f"{options.preset}, {options.task} {options.split}, {len(rows)} "
        "sentences, nats a token\n"
        "dtype           loss      change    relative"
    )
    exact = None
    for dtype in DTYPES:
        model = PromptTunedT5.from_preset(options.preset, 1, dtype=dtype)
        # A prompt that says nothing in particular: the text's end.
        end = model.backbone.embedding_table()[[model.tokenizer.eos_id]]
        model.prompt.embeddings.assign(end)
        loss = mean_loss(model, inputs, targets)
        exact = exact or loss
        print(
            f"{dtype:14}  {loss:.5f}  {loss - exact:+.5f}  "
            f"{(loss - exact) / exact:+9.4%}"
        )


def mean_loss(
    model: PromptTunedT5, inputs: Sequence[str], targets: Sequence[str]
) -> float:
    """Nats a target token, EOS included."""
    tokens = sum(len(model.tokenizer.encode(t)) + 1 for t in targets)
    return -float(model.score(inputs, targets).sum()) / tokens


def compare_cost(config: T5Config, size: str) -> None:
    """Memory, of a process for each type, and time, turn by turn in one."""
    print(
        f"\nT5 1.1 {size}, random weights, 8 rows of 164 and 8 tokens\n"
        "dtype           weights MiB  loaded  forward's peak  time, relative"
    )
    steps = {
        dtype: forward(MeshT5Backbone(config, dtype=dtype)) for dtype in DTYPES
    }
    least = dict.fromkeys(DTYPES, float("inf"))
    for _ in range(_ROUNDS):
        for dtype, step in steps.items():
            start = time.perf_counter()
            step()
            least[dtype] = min(least[dtype], time.perf_counter() - start)
    for dtype in DTYPES:
        command = [sys.executable, __file__, "--size", size]
        done = subprocess.run(
            [*command, "--measure", dtype], check=True, capture_output=True
        )
        found = json.loads(done.stdout)
        print(
            f"{dtype:14}  {found['weights']:11.1f}  {found['loaded']:6.1f}  "
            f"{found['peak']:14.1f}  {least[dtype] / least['float32']:14.2f}"
        )


def memory(config: T5Config, dtype: str) -> Mapping[str, float]:
    """MiB of this process that a model takes, loaded and running."""
    tf.function(lambda x: tf.einsum("ab,bc->ac", x, x))(tf.ones([8, 8]))
    before = resident("VmRSS")  # with what TensorFlow itself takes
    backbone = MeshT5Backbone(config, dtype=dtype)
    weights = sum(w.numpy().nbytes for w in backbone.weights) / _MEBIBYTE
    loaded = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    forward(backbone)
    return {
        "weights": weights,
        "loaded": loaded - before,
        "peak": resident("VmHWM") - before,
    }


def forward(backbone: MeshT5Backbone) -> Callable[[], tf.Tensor]:
    """A forward pass, traced and run once."""
    random = np.random.default_rng(0)
    ids = tf.constant(random.integers(2, 32_000, (8, 164)))
    step = tf.function(
        lambda: backbone(backbone.embed(ids), ids > 0, ids[:, :8]),
        autograph=False,
    )
    step()
    return step


def resident(field: str) -> float:
    """This process's memory now ("VmRSS") or at most ("VmHWM"), in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(field))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
