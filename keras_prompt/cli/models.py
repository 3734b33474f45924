"""`keras-prompt models`."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from keras_prompt.cli.facts import print_facts

EXAMPLE = "keras-prompt models inspect t5_1_1_nano_lm"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Without a further word, it lists."""
    parser.add_argument("--json", action="store_true", help="as JSON")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    listing = actions.add_parser(
        "list",
        help="the presets (default)",
        epilog="example: keras-prompt models list",
    )
    inspect = actions.add_parser(
        "inspect",
        help="a model's sizes and fingerprint",
        epilog=f"example: {EXAMPLE}",
    )
    inspect.add_argument("model", help="a preset's name, or a folder")
    for action in (listing, inspect):
        # After the action as before it; absent here must not undo it there.
        action.add_argument(
            "--json",
            action="store_true",
            default=argparse.SUPPRESS,
            help="as JSON",
        )


def run(options: argparse.Namespace) -> None:
    """Lists the presets, or shows one model.

    Raises:
        ValueError: no such preset, or a damaged folder.
        FileNotFoundError: no such folder.
    """
    if options.action == "inspect":
        _inspect(options)
    else:
        _list(options)


def _list(options: argparse.Namespace) -> None:
    from keras_prompt.cli.quiet import import_tensorflow

    import_tensorflow()
    from keras_prompt.models.t5.presets import PRESETS
    from keras_prompt.models.t5.variables import parameter_count

    rows = [
        {
            "name": preset.name,
            "parameters": parameter_count(preset.config),
            "is_adapted": preset.is_adapted,
            "ships": preset.folder.is_dir(),
        }
        for preset in PRESETS.values()
    ]
    if options.json:
        print(json.dumps(rows))
        return
    for row in rows:
        adapted = "LM-adapted" if row["is_adapted"] else "not adapted"
        place = "ships" if row["ships"] else "to be downloaded"
        print(
            f"{row['name']:22} {row['parameters']:>14,} parameters · "
            f"{adapted} · {place}"
        )


def _inspect(options: argparse.Namespace) -> None:
    facts = _facts(options.model)
    if options.json:
        print(json.dumps(facts))
        return
    print_facts(facts)


def _facts(model: str) -> dict[str, Any]:
    """What is known of a preset, and of its files where they are."""
    from keras_prompt.models.t5.presets import PRESETS, find_checkpoint

    preset = PRESETS.get(model)
    ships = preset is not None and preset.folder.is_dir()
    folder = None if preset and not ships else find_checkpoint(model)
    from keras_prompt.cli.quiet import import_tensorflow

    import_tensorflow()
    from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
    from keras_prompt.models.t5.variables import parameter_count

    facts: dict[str, Any] = {
        "name": preset.name if preset else Path(model).name
    }
    if preset:
        facts["is_adapted"] = preset.is_adapted
        if preset.source:
            facts["published_at"] = preset.source
    config = preset.config if preset else None
    if folder is not None:
        backbone = PromptTunedT5.from_preset(folder, 1).backbone
        config = backbone.config
        facts |= {"folder": str(folder), "fingerprint": backbone.fingerprint()}
    assert config is not None
    facts["parameters"] = parameter_count(config)
    return facts | dataclasses.asdict(config)
