"""`keras-prompt inspect`."""

import argparse
import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Any

from keras_prompt.cli.arguments import natural_number, positive_integer
from keras_prompt.cli.facts import print_facts

if TYPE_CHECKING:
    from keras_prompt.types import FloatArray

EXAMPLE = "keras-prompt inspect runs/rte/prompt"

Neighbours = list[list[tuple[str, float]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    add = parser.add_argument
    add("prompt", help="folder of an exported prompt")
    add("--preset", help="model name or folder (the prompt's own)")
    add("--rows", type=natural_number, default=10, help="vectors to show (10)")
    add(
        "--neighbours",
        type=positive_integer,
        default=5,
        help="vocabulary entries a vector (5)",
    )
    add("--json", action="store_true", help="the card and figures as JSON")


def run(options: argparse.Namespace) -> None:
    """Prints the card, the size, and the nearest words of each vector.

    Raises:
        FileNotFoundError: there is no such prompt, or no such model.
        ValueError: the prompt is damaged, or the model is of another width.
    """
    from keras_prompt.cli.quiet import import_tensorflow

    import_tensorflow()
    import numpy as np

    from keras_prompt.prompt_files import folder_bytes, read_prompt

    prompt, card = read_prompt(options.prompt)
    facts: dict[str, Any] = {
        **dataclasses.asdict(card),
        "bytes": folder_bytes(options.prompt),
        "rms": float(np.sqrt(np.mean(np.square(prompt)))),
        "largest": float(np.abs(prompt).max()),
    }
    neighbours = None
    if options.rows:
        neighbours = _neighbours(prompt[: options.rows], card.base, options)
    if options.json:
        print(json.dumps(facts | {"neighbours": neighbours}))
        return
    print_facts(facts)
    if neighbours is not None:
        print_neighbours(neighbours)


def _neighbours(
    rows: "FloatArray", base: str, options: argparse.Namespace
) -> Neighbours | None:
    """None, and a line that says so, where the prompt's base is not here."""
    from keras_prompt.models.t5.presets import find_checkpoint

    if options.preset is None:
        try:
            find_checkpoint(base)
        except (ValueError, FileNotFoundError):
            print(
                f"keras-prompt: no nearest words: the prompt's base '{base}' "
                "is not here; name its folder with --preset.",
                file=sys.stderr,
            )
            return None
    from keras_prompt.interpret import nearest_pieces
    from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5

    model = PromptTunedT5.from_preset(options.preset or base, prompt_length=1)
    return nearest_pieces(
        rows,
        model.backbone.embedding_table(),
        model.tokenizer,
        options.neighbours,
    )


def print_neighbours(neighbours: Neighbours) -> None:
    """A table: a vector a row, its nearest entries with their cosines."""
    import rich.console
    import rich.table
    import rich.text

    table = rich.table.Table("vector", "nearest vocabulary entries (cosine)")
    for index, row in enumerate(neighbours):
        words = "  ".join(f"{piece} {cosine:.2f}" for piece, cosine in row)
        # A piece such as "[/" is no markup.
        table.add_row(str(index), rich.text.Text(words))
    rich.console.Console().print(table)
