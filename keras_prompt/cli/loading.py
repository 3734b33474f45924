"""A model with an exported prompt in it, for the verbs that use one."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
    from keras_prompt.prompt_files import PromptCard


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that `load_model` reads."""
    add = parser.add_argument
    add("--prompt", required=True, help="folder of an exported prompt")
    add("--preset", help="model name or folder (the prompt's own)")
    add("--dtype", default="float32", help="of the model")
    add("--batch-size", type=int, default=32, help="rows at a time")
    add("--input-length", type=int, default=512, help="longer is cut")
    add("--target-length", type=int, default=32, help="tokens to write")


def load_model(
    options: argparse.Namespace,
) -> "tuple[PromptTunedT5, PromptCard]":
    """The model a prompt was tuned on, with the prompt in it."""
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
