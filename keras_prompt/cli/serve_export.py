"""`keras-prompt serve-export`."""

import argparse

from keras_prompt.cli.arguments import positive_integer, written_length

EXAMPLE = (
    "keras-prompt serve-export t5_1_1_nano_lm --output server/base/1 "
    "--prompt-root prompts"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    add = parser.add_argument
    add("preset", help="model name or checkpoint folder")
    add("--output", required=True, help="folder to make, as server/base/1")
    one = parser.add_mutually_exclusive_group(required=True)
    one.add_argument(
        "--prompt-root",
        metavar="FOLDER",
        help="of the prompts' folders, as the server will see it; read while "
        "requests run",
    )
    one.add_argument(
        "--releases",
        action="store_true",
        help="instead: the base that serve-assemble puts prompts into",
    )
    add(
        "--text",
        action="store_true",
        help="with signatures that take text; the server needs TensorFlow "
        "Text's ops, which the official images have",
    )
    for option, kind, default, help_line in (
        (
            "--input-length",
            positive_integer,
            512,
            "tokens; longer inputs are refused",
        ),
        ("--target-length", written_length, 32, "the most tokens to write"),
    ):
        add(
            option,
            type=kind,
            default=default,
            help=f"{help_line} ({default})",
        )


def run(options: argparse.Namespace) -> None:
    """Exports a model for serving, and prints its size.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: its name is unknown, the output holds something else, or
            the root is a pattern.
        OSError: the output cannot be written.
    """
    from keras_prompt.cli.loading import prepare
    from keras_prompt.export.server_card import (
        absolute_root,
        refuse_other_content,
    )

    # Before a large model takes its minutes.
    root = None if options.releases else absolute_root(options.prompt_root)
    refuse_other_content(options.output)
    prepare(options)
    from keras_prompt.export.server import export_server
    from keras_prompt.models.plain_t5 import PlainT5

    model = PlainT5.from_preset(options.preset)
    size = export_server(
        model.backbone,
        options.output,
        root,
        input_length=options.input_length,
        max_length=options.target_length,
        tokenizer=model.tokenizer if options.text else None,
    )
    print(f"{options.output} · {size:,} bytes")
