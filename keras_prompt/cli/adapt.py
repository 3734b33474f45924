"""`keras-prompt adapt`."""

import argparse

from keras_prompt.cli.pretrain import add_run_arguments, run_pretraining

EXAMPLE = (
    "keras-prompt adapt corpus/*.txt.xz --base runs/nano/model "
    "--output runs/nano_lm --steps 1000"
)
_LEARNING_RATE = 0.001  # Raffel et al. 2020's rate after pre-training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    parser.add_argument("--base", required=True, help="model name or folder")
    add_run_arguments(parser, str(_LEARNING_RATE))
    parser.set_defaults(learning_rate=_LEARNING_RATE)


def run(options: argparse.Namespace) -> None:
    """Adapts with the prefix-LM objective.

    Raises:
        ValueError: no such model, or what `run_pretraining` raises.
        FileNotFoundError: no such folder, or no such texts.
    """
    from keras_prompt.models.t5.presets import find_checkpoint

    options.base = str(find_checkpoint(options.base))
    run_pretraining(options, objective="prefix_lm")
