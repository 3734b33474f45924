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
    parser.add_argument("--base", required=True, help="folder of a model")
    add_run_arguments(parser)
    parser.set_defaults(learning_rate=_LEARNING_RATE)


def run(options: argparse.Namespace) -> None:
    """Adapts with the prefix-LM objective."""
    run_pretraining(options, objective="prefix_lm")
