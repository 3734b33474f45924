"""`keras-prompt tune`."""

import argparse
import dataclasses
from typing import TYPE_CHECKING

from keras_prompt.cli.arguments import (
    natural_number,
    positive_integer,
    positive_number,
    probability,
    written_length,
)
from keras_prompt.strict_json import strict_json

if TYPE_CHECKING:
    from keras_prompt.training.tune_result import TuneResult

EXAMPLE = (
    "keras-prompt tune super_glue/rte --preset t5_1_1_nano_lm "
    "--output runs/rte --steps 500 --evaluate-every 100 --answer-by rank"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own options; defaults are the paper's."""
    add = parser.add_argument
    add(
        "task",
        nargs="+",
        help="a task's name, `keras-prompt tasks` lists them; several get a "
        "prompt each, in one fit",
    )
    add("--preset", required=True, help="model name or checkpoint folder")
    add("--output", required=True, help="folder of the run")
    add(
        "--method",
        choices=["prompt", "model"],
        help="what learns: a prompt (default), or the whole model",
    )
    add(
        "--initial-prompt",
        help="class_labels (default), sampled_vocab, random_uniform, "
        "from_text:TEXT, or a path",
    )
    for option, help_line in (
        ("--prompt-length", "vectors in the prompt (100)"),
        ("--steps", "optimizer steps (30000)"),
        ("--evaluate-every", "steps (1000)"),
        ("--checkpoint-every", "steps (100)"),
        ("--batch-size", "rows of each task a step (32)"),
        ("--input-length", "tokens; longer is cut (512)"),
        ("--evaluation-limit", "rows to evaluate on (all)"),
    ):
        add(option, type=positive_integer, help=help_line)
    add(
        "--target-length",
        type=written_length,
        help="tokens; longer is refused (16)",
    )
    add(
        "--learning-rate",
        type=positive_number,
        help="constant, until --decay-steps (0.3; with --method model 0.001)",
    )
    add(
        "--decay-steps",
        type=positive_integer,
        help="last steps, the rate falling to 0 (none)",
    )
    add("--step-offset", type=int, help="of Adafactor's step (0)")
    add("--dropout-rate", type=probability, help="while training (0)")
    add(
        "--answer-by",
        choices=["generate", "rank"],
        help="how an evaluation takes outputs (generate)",
    )
    add("--split", help="to evaluate on (validation)")
    add("--dtype", help="float32 (default), bfloat16, mixed_bfloat16, int8")
    add(
        "--seed",
        type=natural_number,
        help="of initial prompt and data order (0)",
    )
    add("--data-dir", help="of TensorFlow Datasets")
    add("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> None:
    """Tunes, and says what came of it.

    Raises:
        ValueError: a name is unknown, or a setting is wrong.
        FileNotFoundError: the data or the model is absent.
        KeyboardInterrupt: after saving.
    """
    from keras_prompt import tasks
    from keras_prompt.cli.quiet import import_tensorflow
    from keras_prompt.models.t5.presets import find_checkpoint

    if options.method == "model":
        _refuse_prompt_options(options)
    for name in options.task:  # before TensorFlow takes its seconds
        tasks.get(name)
    find_checkpoint(options.preset)
    import_tensorflow()
    from keras_prompt.training.config import TuneConfig
    from keras_prompt.training.tune import tune
    from keras_prompt.training.tune_bank import tune_bank
    from keras_prompt.training.tune_result import BankResult

    names = {field.name for field in dataclasses.fields(TuneConfig)}
    given = {
        name: value
        for name, value in vars(options).items()
        if name in names and value is not None
    }
    if len(options.task) == 1:
        (given["task"],) = options.task
    config = TuneConfig(**given)
    tune_it = tune if isinstance(config.task, str) else tune_bank
    result = tune_it(config, verbose=not options.json)
    if options.json:
        print(strict_json(dataclasses.asdict(result)))
        return
    each = result.tasks.values() if isinstance(result, BankResult) else [result]
    for one in each:
        print(_line(one))


def _line(result: "TuneResult") -> str:
    majority = "/".join(f"{v:.1f}" for v in result.majority.values()) or "none"
    return (
        f"{result.task}: score {result.score:.1f} at step "
        f"{result.best_step:,} (majority {majority}; the split that chose "
        f"the {result.method}) · {result.folder} · {result.folder_bytes:,} "
        "bytes"
    )


def _refuse_prompt_options(options: argparse.Namespace) -> None:
    for name in ("prompt_length", "initial_prompt"):
        if getattr(options, name) is not None:
            raise ValueError(
                f"--{name.replace('_', '-')} is of prompt tuning; there is no "
                "prompt with --method model."
            )
