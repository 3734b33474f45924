"""`keras-prompt inspect`."""

import argparse
import dataclasses
import json

EXAMPLE = "keras-prompt inspect runs/rte/prompt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    add = parser.add_argument
    add("prompt", help="folder of an exported prompt")
    add("--preset", help="model name or folder (the prompt's own)")
    add("--rows", type=int, default=10, help="vectors to show (10)")
    add("--json", action="store_true", help="the card and figures as JSON")


def run(options: argparse.Namespace) -> None:
    """Prints the card, the size, and the nearest words of each vector."""
    from keras_prompt.cli.quiet import import_tensorflow

    import_tensorflow()
    import numpy as np

    from keras_prompt.prompt_files import folder_bytes, read_prompt

    prompt, card = read_prompt(options.prompt)
    figures = {
        **dataclasses.asdict(card),
        "bytes": folder_bytes(options.prompt),
        "rms": float(np.sqrt(np.mean(np.square(prompt)))),
        "largest": float(np.abs(prompt).max()),
    }
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:15} {value}")
    _print_neighbours(prompt[: options.rows], options.preset or card.base)


def _print_neighbours(prompt: object, preset: str) -> None:
    import rich.console
    import rich.table

    from keras_prompt.interpret import nearest_pieces
    from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5

    model = PromptTunedT5.from_preset(preset, 1)
    table = rich.table.Table("vector", "nearest vocabulary entries (cosine)")
    rows = nearest_pieces(
        prompt,  # type: ignore[arg-type]
        model.backbone.embedding_table(),
        model.tokenizer,
    )
    for index, row in enumerate(rows):
        words = "  ".join(f"{piece} {cosine:.2f}" for piece, cosine in row)
        table.add_row(str(index), words)
    rich.console.Console().print(table)
