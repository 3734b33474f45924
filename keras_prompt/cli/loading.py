"""A model with an exported prompt in it, for the verbs that use one."""

import argparse
from typing import TYPE_CHECKING

from keras_prompt.cli.arguments import positive_integer

if TYPE_CHECKING:
    from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
    from keras_prompt.prompt_files import PromptCard


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that `load_model` reads, and those of answering."""
    add = parser.add_argument
    add("--prompt", required=True, help="folder of an exported prompt")
    add("--preset", help="model name or folder (the prompt's own)")
    add("--dtype", default="float32", help="of the model (float32)")
    add(
        "--method",
        choices=["generate", "rank"],
        default="generate",
        help="generate writes an answer (default); rank takes the likeliest "
        "label word",
    )
    for option, default, help_line in (
        ("--batch-size", 32, "rows at a time"),
        ("--input-length", 512, "tokens; longer inputs are cut"),
        ("--target-length", 32, "the most tokens to write"),
    ):
        add(
            option,
            type=positive_integer,
            default=default,
            help=f"{help_line} ({default})",
        )


def load_model(
    options: argparse.Namespace,
) -> "tuple[PromptTunedT5, PromptCard]":
    """The model a prompt was tuned on, with the prompt in it.

    Raises:
        FileNotFoundError: there is no such prompt, or no such model.
        ValueError: the prompt is damaged, or was tuned on another model.
    """
    from keras_prompt.models.t5.presets import find_checkpoint

    if options.preset is not None:
        find_checkpoint(options.preset)  # before TensorFlow takes its seconds
    from keras_prompt.cli.quiet import import_tensorflow

    import_tensorflow()
    from keras_prompt.export.prompt import load_prompt, read_prompt
    from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5

    card = read_prompt(options.prompt).card
    model = PromptTunedT5.from_preset(
        options.preset or card.base, card.prompt_length, dtype=options.dtype
    )
    load_prompt(model, options.prompt)
    return model, card
