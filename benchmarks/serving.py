"""What serving many prompts from one model costs.

Ratios are of runs turn by turn in one process, in processor time, which
other processes on the machine disturb less. Run it as

    python benchmarks/serving.py --data-dir DIR

where DIR holds RTE, prepared by `keras-prompt tasks prepare super_glue/rte`.
The server is one on TensorFlow Serving's official stubs, in Python: it shows
the export and the client, not the real server's speed.
"""

import argparse
import logging
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import psutil
import tensorflow as tf

from keras_prompt import tasks
from keras_prompt.export.assemble import assemble_release
from keras_prompt.export.prompt import export_prompt
from keras_prompt.export.server import export_server
from keras_prompt.initial_prompts import sampled_vocab
from keras_prompt.layers.prompt_bank import PromptBank
from keras_prompt.models.ensemble import PromptEnsemble
from keras_prompt.models.pretrained import load_base
from keras_prompt.models.prompt_bank_t5 import PromptBankT5
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.serving import Client

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/serving"))
import stub_server

LABELS = ("entailment", "not_entailment")


def main() -> None:
    """Prints one line for each question."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--preset", default="t5_1_1_nano_lm")
    parser.add_argument("--prompt-length", type=int, default=100)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    logging.getLogger("keras_prompt").setLevel(logging.ERROR)
    task = tasks.get("super_glue/rte", data_dir=options.data_dir)
    rows = task.examples("validation")[: options.rows]
    texts = [row["inputs"] for row in rows]
    backbone, tokenizer = load_base(options.preset)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "prompts"
        singles = []
        for seed in range(8):
            model = PromptTunedT5(backbone, tokenizer, options.prompt_length)
            model.initialize_prompt(sampled_vocab(), seed)
            size = export_prompt(model, root / f"task{seed}")
            singles.append(model)
        numbers = 4 * options.prompt_length * backbone.config.d_model
        print(f"bytes of a task: {size:,}, {size - numbers:,} more than 4*P*D")
        folders = [root / f"task{seed}" for seed in range(8)]
        _mixing(
            PromptBankT5(backbone, tokenizer, PromptBank.load(folders)),
            texts,
            options.rounds,
        )
        _ensemble(
            PromptBankT5(backbone, tokenizer, PromptBank.load(folders[:5])),
            singles[:5],
            texts,
            options.rounds,
        )
        _release(Path(scratch), backbone, folders)
        base = Path(scratch) / "base/1"
        export_server(backbone, base, root, max_length=8)
        served = stub_server.Model(base)
        with stub_server.grpc_server(served) as address:

            def connect() -> Client:
                return Client(address, tokenizer)

            _adding(connect(), root, texts[:1])
            _load(connect, texts, options.seconds)


def _mixing(model: PromptBankT5, texts: Sequence[str], rounds: int) -> None:
    names = model.bank.names
    mixed = [names[i % len(names)] for i in range(len(texts))]
    labels = dict.fromkeys(names, LABELS)
    ratio = _turns(
        lambda: model.rank(texts, names[0], labels),
        lambda: model.rank(texts, mixed, labels),
        rounds,
    )
    print(f"8 tasks mixed against the same rows of one: throughput {ratio}")


def _ensemble(
    model: PromptBankT5,
    singles: Sequence[PromptTunedT5],
    texts: Sequence[str],
    rounds: int,
) -> None:
    ensemble = PromptEnsemble(model)

    def passes() -> None:
        for single in singles:
            single.rank(texts, LABELS)

    ratio = _turns(
        passes,
        lambda: ensemble.rank(texts, LABELS),
        rounds,
    )
    print(f"5 prompts in one pass against 5 passes: throughput {ratio}")


def _release(
    scratch: Path, backbone: MeshT5Backbone, folders: Sequence[Path]
) -> None:
    start = time.perf_counter()
    size = export_server(backbone, scratch / "release", None)
    whole = time.perf_counter() - start
    seconds, new = [], 0
    for version in range(5):
        made = assemble_release(
            scratch / "release", scratch / f"server/{version}", folders
        )
        seconds.append(made.seconds)
        new = made.new_bytes
    print(
        f"a release of 8 tasks: {new:,} new bytes in "
        f"{1000 * statistics.median(seconds):.0f} ms; its base {size:,} bytes "
        f"in {whole:.1f} s"
    )


def _adding(client: Client, root: Path, texts: Sequence[str]) -> None:
    client.rank(texts, "task0", LABELS)
    copies, firsts, usual = [], [], []
    for number in range(10):
        start = time.perf_counter()
        shutil.copytree(root / "task0", root / f"new{number}")
        copied = time.perf_counter()
        client.rank(texts, f"new{number}", LABELS)
        answered = time.perf_counter()
        client.rank(texts, f"new{number}", LABELS)
        copies.append(copied - start)
        firsts.append(answered - copied)
        usual.append(time.perf_counter() - answered)
    print(
        f"adding a task: copy {_ms(copies)}, its first request "
        f"{_ms(firsts)}, the next {_ms(usual)} (median of 10)"
    )


def _load(
    connect: Callable[[], Client], texts: Sequence[str], seconds: float
) -> None:
    """Eight clients, one row a request, each row of another task."""
    process = psutil.Process()
    times: list[float] = []
    errors: list[Exception] = []
    memory: list[int] = []
    end = time.monotonic() + seconds

    def ask(number: int) -> None:
        with connect() as client:
            turn = number
            while time.monotonic() < end:
                start = time.perf_counter()
                try:
                    text = texts[turn % len(texts)]
                    client.rank([text], f"task{turn % 8}", LABELS)
                except (OSError, ValueError) as error:
                    errors.append(error)
                times.append(time.perf_counter() - start)
                turn += 8 + 1

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    while time.monotonic() < end:
        time.sleep(seconds / 12)
        memory.append(process.memory_info().rss)
    for thread in threads:
        thread.join()
    half = memory[len(memory) // 2]
    print(
        f"8 clients for {seconds:.0f} s: {len(times) / seconds:.1f} requests "
        f"a second, median {_ms(times)}, p99 "
        f"{1000 * np.percentile(times, 99):.0f} ms, {len(errors)} errors; "
        f"memory {memory[0] / 1e6:.0f} MB after a twelfth, {half / 1e6:.0f} "
        f"MB at half, {memory[-1] / 1e6:.0f} MB at the end"
    )
    if errors:
        print(f"first error: {errors[0]}")


def _turns(
    reference: Callable[[], object], other: Callable[[], object], rounds: int
) -> str:
    """How many times as fast the other is, in processor time."""
    reference(), other()
    ratios = []
    for _ in range(rounds):
        start = time.process_time()
        reference()
        middle = time.process_time()
        other()
        ratios.append((middle - start) / (time.process_time() - middle))
    return (
        f"{statistics.median(ratios):.2f} times "
        f"(of {rounds} rounds {min(ratios):.2f} to {max(ratios):.2f})"
    )


def _ms(seconds: Sequence[float]) -> str:
    return f"{1000 * statistics.median(seconds):.1f} ms"


if __name__ == "__main__":
    tf.get_logger().setLevel(logging.ERROR)
    main()
