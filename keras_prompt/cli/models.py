"""`keras-prompt models`."""

import argparse
import json

EXAMPLE = "keras-prompt models"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(options: argparse.Namespace) -> None:
    """Lists the presets: parameters, adapted or not, shipped or not."""
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
