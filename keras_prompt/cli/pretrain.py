"""`keras-prompt pretrain`, and what `adapt` shares with it."""

import argparse
import dataclasses
from typing import Any

from keras_prompt.cli.arguments import (
    natural_number,
    positive_integer,
    positive_number,
)
from keras_prompt.strict_json import strict_json
from keras_prompt.training.run_folder import MODEL

EXAMPLE = (
    "keras-prompt pretrain corpus/*.txt.xz --train-vocabulary 8000 "
    "--output runs/nano --steps 10000"
)
_SIZES = {
    "vocab_size": "rows of the embedding table (the vocabulary's ids, rounded "
    "up to a multiple of 64)",
    "d_model": "width (192)",
    "d_kv": "width of a head (64)",
    "d_ff": "width of the feed-forward layers (512)",
    "num_heads": "attention heads (3)",
    "num_encoder_layers": "blocks (4)",
    "num_decoder_layers": "blocks (2)",
    "warmup_steps": "steps before the rate falls (10000)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    vocabulary = parser.add_mutually_exclusive_group(required=True)
    vocabulary.add_argument("--vocabulary", help="a spiece.model file")
    vocabulary.add_argument(
        "--train-vocabulary",
        type=positive_integer,
        metavar="PIECES",
        help="train one on the texts; T5 has 32000 pieces",
    )
    parser.add_argument(
        "--embeddings",
        choices=["random", "cooccurrence"],
        help="how they start: random (default), or from which pieces stand "
        "near each other in the texts",
    )
    add_run_arguments(parser, "T5's 1 / sqrt(max(step, warm-up))")
    for field, help_line in _SIZES.items():
        option = "--" + field.replace("_", "-")
        parser.add_argument(option, type=positive_integer, help=help_line)


def add_run_arguments(
    parser: argparse.ArgumentParser, learning_rate: str
) -> None:
    """Options of both verbs; `learning_rate` is the verb's default."""
    add = parser.add_argument
    add(
        "texts",
        nargs="+",
        help="text files (plain, .gz or .xz), tfds:NAME/SPLIT:FEATURE, "
        "seqio:TASK or seqio:MODULE:TASK",
    )
    add("--output", required=True, help="folder of the run")
    for option, help_line in (
        ("--steps", "optimizer steps (10000)"),
        ("--evaluate-every", "steps; also checkpoints (250)"),
        ("--batch-size", "packed rows a step (32)"),
        ("--micro-batches", "parts of a step, to save memory (1)"),
        ("--input-length", "tokens of a row (256)"),
        ("--decay-steps", "last steps, the rate falling to 0 (none)"),
    ):
        add(option, type=positive_integer, help=help_line)
    add(
        "--learning-rate",
        type=positive_number,
        help="constant, times each weight's root mean square "
        f"({learning_rate})",
    )
    add("--clip-norm", type=positive_number, help="of all gradients (none)")
    add("--dtype", help="mixed_bfloat16 (default), float32")
    add("--seed", type=natural_number, help="of weights and data (0)")
    add("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> None:
    """Pre-trains."""
    run_pretraining(options, objective="span_corruption")


def run_pretraining(options: argparse.Namespace, **fixed: Any) -> None:
    """Runs with the options given and some that the verb fixes.

    Raises:
        FileNotFoundError: a text, the vocabulary or the base is absent.
        ValueError: a setting is wrong, or a file is not what it should be.
        KeyboardInterrupt: the run can go on from its last validation.
    """
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
    try:
        result = pretrain(PretrainConfig(**given, **fixed))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "stopped; the same command goes on from the last validation, if any"
        ) from None
    if options.json:
        print(strict_json(result))
    else:
        print(
            f"{options.output}/{MODEL} · {result['steps']:,} steps · "
            f"{result['tokens']:,} tokens · loss {result['loss']:.3f} · "
            f"held out {result['val_loss']:.3f}"
        )
