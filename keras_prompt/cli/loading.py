"""A model, with exported prompts in it or without one, for the verbs."""

import argparse
import os
from typing import TYPE_CHECKING

from keras_prompt.cli.arguments import positive_integer, written_length

INPUT_LENGTH = 512
TARGET_LENGTH = 32
DTYPE = "float32"

if TYPE_CHECKING:
    from keras_prompt.models.ensemble import PromptEnsemble
    from keras_prompt.models.text_t5 import TextT5
    from keras_prompt.prompt_files import PromptCard


def add_model_arguments(
    parser: argparse.ArgumentParser,
    *,
    takes_ensemble: bool = False,
    takes_server: bool = False,
) -> None:
    """The options that `load_model` reads, and those of answering."""
    one = parser.add_mutually_exclusive_group()
    one.add_argument(
        "--prompt", help="folder of an exported prompt (none: zero-shot)"
    )
    if takes_ensemble:
        one.add_argument(
            "--ensemble",
            nargs="+",
            metavar="PROMPT",
            help="folders of several prompts of one task, instead",
        )
    if takes_server:
        one.add_argument(
            "--server",
            metavar="ADDRESS",
            help="host:port (gRPC) or http://host:port of a TensorFlow "
            "Serving, instead; with --task, and --preset unless the server "
            "takes text",
        )
    add = parser.add_argument
    add("--preset", help="model name or folder (the prompt's own)")
    add(
        "--dtype",
        default=DTYPE,
        help=f"of the model: {DTYPE} (default), bfloat16, mixed_bfloat16, int8",
    )
    add(
        "--answer-by",
        choices=["generate", "rank"],
        default="generate",
        help="generate writes an answer (default); rank takes the likeliest "
        "label word",
    )
    add(
        "--target-length",
        type=written_length,
        help=f"with generate: the most tokens to write ({TARGET_LENGTH})",
    )
    for option, default, help_line in (
        ("--batch-size", 32, "rows at a time"),
        ("--input-length", INPUT_LENGTH, "tokens; longer inputs are cut"),
    ):
        add(
            option,
            type=positive_integer,
            default=default,
            help=f"{help_line} ({default})",
        )


def target_length(options: argparse.Namespace) -> int:
    """The most tokens to write.

    Raises:
        ValueError: it is given, and nothing is written.
    """
    if options.answer_by == "rank" and options.target_length is not None:
        raise ValueError("--target-length goes with --answer-by generate only.")
    return options.target_length or TARGET_LENGTH


def load_model(
    options: argparse.Namespace,
) -> "tuple[TextT5, PromptCard | None]":
    """The model a prompt was tuned on, with the prompt in it, and its card.

    Without a prompt, the preset as it is: pre-trained, or tuned as a whole.

    Raises:
        FileNotFoundError: there is no such prompt, or no such model.
        ValueError: neither is named, the prompt is damaged, or was tuned on
            another model.
    """
    if options.prompt is None and options.preset is None:
        raise ValueError(
            "Give --prompt, or --preset for a model without a prompt."
        )
    prepare(options)
    from keras_prompt.export.prompt import load_prompt, read_prompt
    from keras_prompt.models.plain_t5 import PlainT5
    from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5

    if options.prompt is None:
        plain = PlainT5.from_preset(options.preset, dtype=options.dtype)
        return plain, None
    card = read_prompt(options.prompt).card
    preset = options.preset or _own_preset(options.prompt, card)
    model = PromptTunedT5.from_preset(
        preset, card.prompt_length, dtype=options.dtype
    )
    load_prompt(model, options.prompt)
    return model, card


def load_ensemble(
    options: argparse.Namespace,
) -> "tuple[PromptEnsemble, PromptCard]":
    """The model that several prompts were tuned on, with all of them.

    Returns:
        The prompts, named after their folders, and the first one's card.

    Raises:
        FileNotFoundError: there is no such prompt, or no such model.
        ValueError: a prompt is damaged, or was tuned on another model.
    """
    prepare(options)
    from keras_prompt.layers.prompt_bank import PromptBank
    from keras_prompt.models.ensemble import PromptEnsemble
    from keras_prompt.models.prompt_bank_t5 import PromptBankT5

    different = set(map(os.path.realpath, options.ensemble))
    if len(different) < len(options.ensemble):
        raise ValueError(
            "--ensemble must name different prompts. "
            f"Received: {' '.join(options.ensemble)}"
        )
    bank = PromptBank.load({folder: folder for folder in options.ensemble})
    first, *others = bank.cards.items()
    for name, card in others:
        if card.task != first[1].task:
            raise ValueError(
                f"The prompts of an ensemble must be of one task: {name} is "
                f"of {card.task}, {first[0]} of {first[1].task}."
            )
    preset = options.preset or _own_preset(*first)
    model = PromptBankT5.from_preset(preset, bank, dtype=options.dtype)
    return PromptEnsemble(model), first[1]


def _own_preset(folder: str, card: "PromptCard") -> str:
    """The model that a prompt's card names, if a name is enough to find it."""
    from keras_prompt.models.t5.presets import find_checkpoint

    try:
        find_checkpoint(card.base)
    except (ValueError, FileNotFoundError) as error:
        raise FileNotFoundError(
            f"{folder} was tuned on a model named '{card.base}', and no "
            f"preset of that name is here ({error}) Give --preset, the folder "
            "of that model."
        ) from error
    return card.base


def prepare(options: argparse.Namespace) -> None:
    """Refuses an unknown preset, then imports TensorFlow.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: its name is unknown.
    """
    from keras_prompt.models.t5.presets import find_checkpoint

    if options.preset is not None:
        find_checkpoint(options.preset)  # before TensorFlow takes its seconds
    from keras_prompt.cli.quiet import import_tensorflow

    import_tensorflow()
