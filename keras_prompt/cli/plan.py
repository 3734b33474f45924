"""`keras-prompt plan`."""

import argparse
import dataclasses
import json
import math
import re
from typing import TYPE_CHECKING

from keras_prompt.cli.arguments import positive_integer
from keras_prompt.cli.facts import print_facts
from keras_prompt.registry import lookup

if TYPE_CHECKING:
    from keras_prompt.models.plan import Batch, Plan
    from keras_prompt.models.t5.config import T5Config
    from keras_prompt.models.t5.presets import Preset

EXAMPLE = "keras-prompt plan --model xxl --devices 8 --memory 16GB"
_UNITS = {"MB": 10**6, "GB": 10**9, "MiB": 2**20, "GiB": 2**30}
_DTYPES = ("float32", "bfloat16", "mixed_bfloat16", "int8")
# Devices that a program sees, and the memory of one. A v2 or v3 chip is two
# devices; sizes: cloud.google.com/tpu/docs, "System architecture".
_SLICES = {
    "TPU v2-8": (8, "8GiB"),
    "TPU v3-8": (8, "16GiB"),
    "TPU v5e-1": (1, "16GB"),
    "TPU v5e-8": (8, "16GB"),
    "TPU v6e-1": (1, "32GB"),
    "1 GPU": (1, "80GB"),
    "2 GPUs": (2, "80GB"),
    "4 GPUs": (4, "80GB"),
    "8 GPUs": (8, "80GB"),
}


def memory_size(text: str) -> int:
    """Bytes of "16GB" or "15.5 GiB".

    Raises:
        argparse.ArgumentTypeError: the text is no such size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]+)", text)
    size = 0.0 if match is None else float(match[1]) * _UNITS.get(match[2], 0)
    if not 1 <= size < math.inf:
        raise argparse.ArgumentTypeError(
            f"must be a size such as 16GB or 16GiB. Received: {text[:40]}"
        )
    return int(size)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A model, the devices, and the batch."""
    add = parser.add_argument
    add("--model", help=f"{', '.join(_sizes())}, or a preset's name")
    add("--devices", type=positive_integer, help="how many (1)")
    add("--memory", type=memory_size, help="of one device, 16GB for one")
    add(
        "--table",
        action="store_true",
        help="all sizes on common machines instead, as Markdown",
    )
    for option, default, help_line in (
        ("--batch-size", 32, "rows a step, over all devices"),
        ("--input-length", 512, "tokens of an input"),
        ("--target-length", 16, "tokens of a target"),
        ("--prompt-length", 100, "vectors in the prompt"),
    ):
        add(
            option,
            type=positive_integer,
            default=default,
            help=f"{help_line} ({default})",
        )
    add("--dtype", choices=_DTYPES, default="bfloat16", help="(bfloat16)")
    add(
        "--rematerialize",
        action="store_true",
        help="compute the largest activations twice instead of keeping them",
    )
    add("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> None:
    """Prints the plan.

    Raises:
        ValueError: a name is unknown, or an option is missing.
    """
    from keras_prompt.models.plan import Batch

    batch = Batch(
        options.batch_size,
        options.input_length,
        options.target_length,
        options.prompt_length,
    )
    if options.table:
        for option in ("model", "devices", "memory", "json"):
            if getattr(options, option):
                raise ValueError(
                    f"--{option} does not go with --table, which has all "
                    "sizes on machines of its own, as Markdown."
                )
        _print_table(options, batch)
        return
    if options.model is None or options.memory is None:
        raise ValueError("give --model and --memory, or --table.")
    config = _config(options.model)
    found = _plan(options, config, batch)
    facts = dataclasses.asdict(found)
    if options.json:
        print(json.dumps(facts | {"total": found.total}))
        return
    print_facts(
        {
            "mesh": found.mesh_shape or "one device",
            "layout": found.layout or "-",
            "weights": _readable(found.weights),
            "activations": _readable(found.activations),
            "prompt and optimizer": _readable(found.state),
            "each device": f"{_readable(found.total)} of "
            f"{_readable(options.memory)}",
            "fits": found.fits,
        }
    )
    if not found.fits:
        print(_advice(options, config, batch))


def _plan(
    options: argparse.Namespace, config: "T5Config", batch: "Batch"
) -> "Plan":
    from keras_prompt.models.plan import plan

    return plan(
        config,
        options.devices or 1,
        options.memory,
        batch,
        dtype=options.dtype,
        rematerialize=options.rematerialize,
    )


def _advice(
    options: argparse.Namespace, config: "T5Config", batch: "Batch"
) -> str:
    """The largest half, quarter, ... of the batch that fits, and how.

    `tune` has no mesh and does not rematerialize, so the line names Python's
    arguments.
    """
    options = argparse.Namespace(**vars(options) | {"rematerialize": True})
    rows = batch.rows
    while rows:
        smaller = dataclasses.replace(batch, rows=rows)
        found = _plan(options, config, smaller)
        if found.fits:
            arguments = {"dtype": options.dtype, "rematerialize": True}
            if found.mesh_shape:
                arguments["mesh_shape"] = found.mesh_shape
                arguments["layout"] = found.layout
            given = ", ".join(f"{n}={v!r}" for n, v in arguments.items())
            return (
                f"fits with --rematerialize --batch-size {rows}: in Python, "
                f"from_preset(..., {given}) and "
                f"make_dataset(..., batch_size={rows})"
            )
        rows //= 2
    return "no batch of these lengths fits: use more devices, or larger ones"


def _sizes() -> "dict[str, Preset]":
    """The released models by size alone; adapted, they are as large."""
    from keras_prompt.models.t5.presets import PRESETS

    return {
        name.removeprefix("t5_1_1_"): preset
        for name, preset in PRESETS.items()
        if not preset.ships and not preset.is_adapted
    }


def _config(name: str) -> "T5Config":
    from keras_prompt.models.t5.presets import PRESETS

    return lookup("model", name, _sizes() | dict(PRESETS)).config


def _print_table(options: argparse.Namespace, batch: "Batch") -> None:
    print(
        "| model | machine | mesh | weights | activations | state | fits |\n"
        "|---|---|---|---|---|---|---|"
    )
    for size in _sizes():
        for machine, (devices, memory) in _SLICES.items():
            machine_options = argparse.Namespace(
                devices=devices,
                memory=memory_size(memory),
                dtype=options.dtype,
                rematerialize=options.rematerialize,
            )
            found = _plan(machine_options, _config(size), batch)
            cells = [
                size,
                f"{machine}, {memory}",
                f"`{found.mesh_shape}`" if found.mesh_shape else "-",
                _readable(found.weights),
                _readable(found.activations),
                _readable(found.state),
                "yes" if found.fits else "no",
            ]
            print(f"| {' | '.join(cells)} |")


def _readable(size: int) -> str:
    """Bytes in three digits.

    >>> _readable(22_300_000_000), _readable(1_228_800)
    ('22.3 GB', '1.23 MB')
    """
    unit = "GB" if size >= 10**9 else "MB"
    value = size / _UNITS[unit]
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} {unit}"
