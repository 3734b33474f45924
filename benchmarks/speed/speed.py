"""The same T5, prompt and rows here, in PEFT and in KerasHub, in turns.

    python benchmarks/speed/speed.py --data-dir DIR

where DIR holds the task, prepared by `keras-prompt tasks prepare`. Every
figure is a ratio, or beside what it is a ratio of: the contenders run one
after the other in each of several rounds, each in a process of its own.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from arithmetic import matrix_peak, step_operations
from races import CONTENDERS, Measured, Runner, equal_batch
from speed_work import SIZES, Work, prepare

# What is measured, with the methods' arguments; KerasHub's T5 generates from
# token ids only and holds no several prompts.
RACES = {
    "scoring of all label words": "score",
    "scoring, eight tasks mixed": "mixed",
    "greedy generation": "generate",
    "training step, equal shapes": "steps",
    "useful tokens/s over an epoch, each with its own batches": "epoch",
}
PEERS = [name for name in CONTENDERS if name != "keras_prompt"]
_LACKS = {("keras_hub", "generate"), ("keras_hub", "mixed")}


def main() -> None:
    """Prints a table, or with --json all that was measured."""
    options = _options()
    contenders = ["keras_prompt", *options.peers]
    with tempfile.TemporaryDirectory() as folder:
        work = Work(
            folder=folder,
            task=options.task,
            data_dir=options.data_dir,
            size=options.size,
            prompt_length=options.prompt_length,
            batch_size=options.batch_size,
            input_length=options.input_length,
            target_length=options.target_length,
            rows=options.rows,
            steps=options.steps,
            threads=os.cpu_count() or 1,
            jit_compile=options.jit_compile,
        )
        _alone(prepare, work)
        found = _starts(work, contenders)
        found["rounds"] = _rounds(work, contenders, options)
    if options.json:
        print(json.dumps(found))
    else:
        _print(found, work)


def _starts(work: Work, contenders: list[str]) -> dict[str, Any]:
    """Process start to the end of the first step, and the peak of memory."""
    batch = equal_batch(work)
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "import tensorflow"],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    found: dict[str, Any] = {
        "import_tensorflow": time.perf_counter() - begin,
        "start": {},
        "peak_bytes": {},
        "operations": step_operations(work),
    }
    for name in contenders:
        runner = Runner(name, work)
        runner.call("steps", *batch, 1)
        found["start"][name] = time.perf_counter() - runner.started
        runner.call("steps", *batch, work.steps)
        found["peak_bytes"][name] = runner.call("peak_bytes").result
        runner.stop()
    return found


def _rounds(
    work: Work, contenders: list[str], options: argparse.Namespace
) -> dict[str, Any]:
    """Seconds of every race, round and contender; the peak of each round."""
    batch = equal_batch(work)
    runners = {name: Runner(name, work) for name in contenders}
    losses = {
        n: r.call("first_loss", *batch).result for n, r in runners.items()
    }
    print("loss before the first step:", losses, file=sys.stderr)
    _check_equal("first_loss", losses)
    found: dict[str, Any] = {"peak": [], "losses": losses}
    for race, method in RACES.items():
        if options.only and method not in options.only:
            continue
        arguments = (*batch, work.steps) if method == "steps" else ()
        rounds: dict[str, list[float]] = {}
        for number in range(-1, options.rounds):  # the first one traces
            if method == "steps" and number >= 0:
                found["peak"].append(_alone(matrix_peak, work))
            results = {}
            for name, runner in runners.items():
                if (name, method) in _LACKS:
                    continue
                measured = runner.call(method, *arguments)
                results[name] = measured.result
                if number >= 0:
                    rounds.setdefault(name, []).append(_cost(method, measured))
            if method in ("score", "mixed") and number < 0:
                _check_equal(method, results)
        found[race] = rounds
        print(race, rounds, file=sys.stderr)
    for runner in runners.values():
        runner.stop()
    return found


def _check_equal(method: str, results: dict[str, Any]) -> None:
    """Refuses to compare those who do not compute the same.

    What scores is measured before what trains, as each has its own optimizer.
    """
    numbers = np.array(list(results.values()))
    apart = float(np.ptp(numbers, axis=0).max())
    print(f"{method}: apart by {apart:.1e}", file=sys.stderr)
    if not apart < 1e-3 * max(1.0, float(np.abs(numbers).max())):
        raise AssertionError(f"{method}: the contenders differ by {apart}")


def _cost(method: str, measured: Measured) -> float:
    """Seconds, over an epoch for each useful token."""
    if method == "epoch":
        return measured.seconds / float(measured.result)
    return measured.seconds


def _print(found: dict[str, Any], work: Work) -> None:
    print(f"T5 1.1 {work.size}, {work}")
    peers = [name for name in found["start"] if name != "keras_prompt"]
    for name, rounds in found["rounds"].items():
        if name in RACES:
            for peer in peers:
                if peer in rounds:
                    pairs = zip(
                        rounds[peer], rounds["keras_prompt"], strict=True
                    )
                    _line(name, peer, [p / o for p, o in pairs])
    for name in ("start", "peak_bytes"):
        for contender, value in found[name].items():
            print(f"{name}: {contender} {value:,.1f}")
    print(f"import of TensorFlow alone: {found['import_tensorflow']:.1f} s")
    peaks = found["rounds"]["peak"]
    if peaks:
        steps = found["rounds"]["training step, equal shapes"]["keras_prompt"]
        shares = [
            work.steps * found["operations"] / seconds / peak
            for seconds, peak in zip(steps, peaks, strict=True)
        ]
        _line("training step", "the matrix peak", shares)


def _line(name: str, peer: str, ratios: list[float]) -> None:
    print(
        f"{name}: {statistics.median(ratios):.2f} times {peer} "
        f"({min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds)"
    )


def _alone(function: Callable[[Work], Any], work: Work) -> Any:
    """Runs a function in a process of its own, which frees what it took."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, (work,))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add("--data-dir", required=True)
    add("--task", default="super_glue/rte")
    add("--size", default="small", choices=SIZES)
    add("--prompt-length", type=int, default=20)
    add("--batch-size", type=int, default=16)
    add("--input-length", type=int, default=128)
    add("--target-length", type=int, default=8)
    add("--rows", type=int, default=64, help="to score and to generate from")
    add("--steps", type=int, default=3, help="of training, a round")
    add("--rounds", type=int, default=5)
    add("--peers", nargs="*", default=PEERS, choices=PEERS)
    add("--only", nargs="+", choices=list(RACES.values()))
    add("--jit-compile", action="store_true", help="XLA, for Keras' steps")
    add("--json", action="store_true", help="print all rounds")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("speed: stopped", file=sys.stderr)
        sys.exit(130)  # the shell's convention: 128 + SIGINT
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"speed: error: {error}")
