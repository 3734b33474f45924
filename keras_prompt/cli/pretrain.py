"""`keras-prompt pretrain`, and what `adapt` shares with it."""

import argparse
import dataclasses
import json
from typing import Any

EXAMPLE = (
    "keras-prompt pretrain corpus/*.txt.xz --vocabulary spiece.model "
    "--output runs/nano --steps 10000"
)
_SIZES = (
    "vocab_size",
    "d_model",
    "d_kv",
    "d_ff",
    "num_heads",
    "num_encoder_layers",
    "num_decoder_layers",
    "warmup_steps",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    parser.add_argument(
        "--vocabulary", required=True, help="a spiece.model file"
    )
    add_run_arguments(parser)
    for size in _SIZES:
        parser.add_argument("--" + size.replace("_", "-"), type=int)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of both verbs."""
    add = parser.add_argument
    add("texts", nargs="+", help="text files: plain, .gz or .xz")
    add("--output", required=True, help="folder of the run")
    add("--steps", type=int, help="optimizer steps (10000)")
    add("--evaluate-every", type=int, help="steps; also checkpoints (250)")
    add("--batch-size", type=int, help="packed rows a step (32)")
    add("--input-length", type=int, help="tokens of a row (256)")
    add("--learning-rate", type=float, help="constant")
    add("--dtype", help="mixed_bfloat16 (default), float32")
    add("--seed", type=int, help="of weights and data (0)")
    add("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> None:
    """Pre-trains."""
    run_pretraining(options, objective="span_corruption")


def run_pretraining(options: argparse.Namespace, **fixed: Any) -> None:
    """Runs with the options given and some that the verb fixes."""
    from keras_prompt.cli.quiet import import_tensorflow

    import_tensorflow()
    from keras_prompt.training.pretraining.config import PretrainConfig
    from keras_prompt.training.pretraining.run import pretrain

    names = {field.name for field in dataclasses.fields(PretrainConfig)}
    given = {
        name: value
        for name, value in vars(options).items()
        if name in names and value is not None
    }
    given["texts"] = tuple(given["texts"])
    result = pretrain(PretrainConfig(**given, **fixed))
    if options.json:
        print(json.dumps(result))
    else:
        print(
            f"{options.output}/model · {result['steps']:,} steps · "
            f"{result['tokens']:,} tokens · loss {result['loss']:.3f} · "
            f"held out {result['val_loss']:.3f}"
        )
