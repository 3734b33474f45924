"""`keras-prompt models`."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_prompt.cli.facts import print_facts

if TYPE_CHECKING:
    from keras_prompt.models.t5.config import T5Config

EXAMPLE = "keras-prompt models inspect t5_1_1_nano_lm"
# Those of `checkpoints.formats.WRITERS`, which needs TensorFlow.
FORMATS = ("hugging_face", "mesh_tensorflow")


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
        help="a model's format, sizes and fingerprint",
        epilog=f"example: {EXAMPLE}",
    )
    inspect.add_argument("model", help="a preset's name, or a path")
    convert = actions.add_parser(
        "convert",
        help="write a model in another format",
        epilog="example: keras-prompt models convert "
        "downloads/t5.1.1.lm100k.base t5_base_lm --format hugging_face",
    )
    convert.add_argument("source", help="a preset's name, or a path")
    convert.add_argument("destination", help="a folder, absent or empty")
    convert.add_argument("--format", required=True, choices=FORMATS)
    convert.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        default="float32",
        help="to store (float32)",
    )
    for action in (listing, inspect, convert):
        # After the action as before it; absent here must not undo it there.
        action.add_argument(
            "--json",
            action="store_true",
            default=argparse.SUPPRESS,
            help="as JSON",
        )


def run(options: argparse.Namespace) -> None:
    """Lists the presets, shows one model, or writes one anew.

    Raises:
        ValueError: no such preset, or a damaged checkpoint.
        FileNotFoundError: nothing at that path, or a preset that is not here.
        OSError: the destination cannot be written.
    """
    if options.action == "inspect":
        _inspect(options)
    elif options.action == "convert":
        _convert(options)
    else:
        _list(options)


def _list(options: argparse.Namespace) -> None:
    from keras_prompt.cli.quiet import import_tensorflow

    import_tensorflow()
    from keras_prompt.models.t5 import keras_hub_presets
    from keras_prompt.models.t5.presets import PRESETS, cache_folder
    from keras_prompt.models.t5.variables import parameter_count

    rows: list[dict[str, Any]] = [
        {
            "name": preset.name,
            "parameters": parameter_count(preset.config),
            "float32_bytes": 4 * parameter_count(preset.config),
            "is_adapted": preset.is_adapted,
            "ships": preset.ships,
            "is_here": preset.is_here,
            "folder": str(preset.folder),
        }
        for preset in PRESETS.values()
    ]
    hub = [
        {"name": name, "is_here": bool(keras_hub_presets.versions(name))}
        for name in keras_hub_presets.NAMES
    ]
    if options.json:
        print(json.dumps(rows + hub))
        return
    for row in rows:
        adapted = "LM-adapted" if row["is_adapted"] else "not adapted"
        place = "in the cache folder" if row["is_here"] else "not here"
        print(
            f"{row['name']:22} {row['parameters']:>14,} parameters · "
            f"{gigabytes(row['float32_bytes']):>8} float32 · {adapted} · "
            f"{'ships' if row['ships'] else place}"
        )
    print(f"\nCache folder: {cache_folder()}")
    print("\nKerasHub's names, from its own cache folder:")
    for entry in hub:
        print(f"{entry['name']:22} {'' if entry['is_here'] else 'not '}here")


def _inspect(options: argparse.Namespace) -> None:
    facts = _facts(options.model)
    if options.json:
        print(json.dumps(facts))
        return
    print_facts(facts)


def _facts(model: str) -> dict[str, Any]:
    """What is known of a preset, and of its files where they are."""
    from keras_prompt.models.t5.presets import (
        PRESETS,
        find_checkpoint,
        is_adapted,
        preset_name,
    )

    preset = PRESETS.get(model)
    is_absent = preset is not None and not preset.is_here
    path = None if is_absent else find_checkpoint(model)
    from keras_prompt.cli.quiet import import_tensorflow

    import_tensorflow()
    from keras_prompt.models.t5.variables import parameter_count

    name = model if path is None else preset_name(model, path)
    facts: dict[str, Any] = {"name": name, "is_adapted": is_adapted(name)}
    if preset and preset.source:
        facts["published_at"] = preset.source
        facts["hugging_face"] = preset.hugging_face
        facts["cache_folder"] = str(preset.folder)
    config = preset.config if preset else None
    if path is not None:
        config, found = _read(path)
        facts |= found
    assert config is not None
    facts["parameters"] = parameter_count(config)
    return facts | dataclasses.asdict(config)


def _read(path: Path) -> "tuple[T5Config, dict[str, Any]]":
    """What a checkpoint's files tell; every weight is read once."""
    from keras_prompt.models.checkpoints import formats
    from keras_prompt.models.t5.backbone import MeshT5Backbone

    checkpoint = formats.read(path)
    backbone = MeshT5Backbone(
        checkpoint.config,
        weights=checkpoint.weights,
        dtype="bfloat16",  # half the memory, and the same fingerprint
    )
    return checkpoint.config, {
        "path": str(path),
        "format": formats.format_of(path),
        "bytes_on_disk": checkpoint.bytes_on_disk,
        "dtype": checkpoint.dtype,
        "fingerprint": backbone.fingerprint(),
    }


def _convert(options: argparse.Namespace) -> None:
    from keras_prompt.models.t5.presets import find_checkpoint

    source = find_checkpoint(options.source)
    from keras_prompt.cli.quiet import import_tensorflow

    import_tensorflow()
    from keras_prompt.models.checkpoints.formats import convert, read

    destination = Path(options.destination)
    convert(source, destination, options.format, options.dtype)
    size = read(destination).bytes_on_disk
    facts = {
        "path": str(destination),
        "format": options.format,
        "dtype": options.dtype,
        "bytes_on_disk": size,
    }
    if options.json:
        print(json.dumps(facts))
    else:
        print_facts(facts)


def gigabytes(size: int) -> str:
    """A size in units of 10^9 bytes.

    >>> gigabytes(44_541_329_408)
    '44.5 GB'
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"
