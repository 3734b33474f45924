"""`keras-prompt inspect`."""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_prompt.cli.arguments import natural_number, positive_integer
from keras_prompt.cli.facts import print_facts
from keras_prompt.strict_json import strict_json

if TYPE_CHECKING:
    from keras_prompt.prompt_files import PromptCard
    from keras_prompt.types import FloatArray

EXAMPLE = "keras-prompt inspect runs/rte/prompt"

Neighbours = list[list[tuple[str, float]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    add = parser.add_argument
    add(
        "prompt",
        help="an exported prompt, a .npy file, a PEFT adapter's folder or a "
        "T5X checkpoint",
    )
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
        ValueError: the prompt is damaged, or `--preset` is another model than
            it was tuned on, or of another width.
    """
    from keras_prompt.cli.quiet import import_tensorflow

    import_tensorflow()
    import numpy as np

    from keras_prompt.prompt_files import folder_bytes
    from keras_prompt.prompt_formats import formats

    prompt, form, card = formats.read(options.prompt)
    prompt_length, d_model = prompt.shape
    path = Path(options.prompt)
    facts: dict[str, Any] = {
        "format": form,
        "prompt_length": prompt_length,
        "d_model": d_model,
        **(dataclasses.asdict(card) if card else {}),
        "bytes": path.stat().st_size if path.is_file() else folder_bytes(path),
        "rms": float(np.sqrt(np.mean(np.square(prompt)))),
        "largest": float(np.abs(prompt).max()),
        "median_row_norm": float(np.median(np.linalg.norm(prompt, axis=1))),
    }
    neighbours = None
    if options.rows:
        neighbours = _neighbours(prompt[: options.rows], card, options)
    if options.json:
        print(strict_json(facts | {"neighbours": neighbours}))
        return
    print_facts(facts)
    if neighbours is not None:
        print_neighbours(neighbours)


def _neighbours(
    rows: "FloatArray",
    card: "PromptCard | None",
    options: argparse.Namespace,
) -> Neighbours | None:
    """None, and a line that says so, where the prompt's base is not here."""
    base = card.base if card else None
    preset = options.preset or base
    if preset is None:
        _say_why_not("the prompt does not say which base it is for")
        return None
    if options.preset is None:
        from keras_prompt.models.t5.presets import find_checkpoint

        try:
            find_checkpoint(preset)
        except (ValueError, FileNotFoundError):
            _say_why_not(f"the prompt's base '{base}' is not here")
            return None
    from keras_prompt.interpret import nearest_pieces
    from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5

    model = PromptTunedT5.from_preset(preset, prompt_length=1)
    mine = model.backbone.fingerprint()
    if card is not None and options.preset is not None:
        card.refuse_other_base(
            options.prompt, mine, f"{preset} is another model"
        )
    if card is not None and card.fingerprint != mine:
        _say_why_not(f"'{base}' has other weights here than the prompt's base")
        return None
    return nearest_pieces(
        rows,
        model.backbone.embedding_table(),
        model.tokenizer,
        options.neighbours,
    )


def _say_why_not(reason: str) -> None:
    print(
        f"keras-prompt: no nearest words: {reason}; name its folder with "
        "--preset.",
        file=sys.stderr,
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
