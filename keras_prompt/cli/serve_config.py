"""`keras-prompt serve-config`."""

import argparse

from keras_prompt.cli.arguments import positive_integer

EXAMPLE = "keras-prompt serve-config server/base"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    add = parser.add_argument
    add("base", help="folder of an exported server's numbered versions")
    add("--name", default="base", help="of the model in requests (base)")
    add(
        "--max-batch-size",
        type=positive_integer,
        default=32,
        help="rows the server puts together (32)",
    )
    add(
        "--batch-timeout-micros",
        type=positive_integer,
        default=2000,
        help="how long it waits for more (2000)",
    )


def run(options: argparse.Namespace) -> None:
    """Writes the files, and prints them and the line that starts a server.

    Raises:
        FileNotFoundError: there is no exported server.
        ValueError: the name is no name.
        OSError: a file cannot be written.
    """
    from keras_prompt.cli.quiet import import_tensorflow

    import_tensorflow()
    from keras_prompt.export.serving_config import write_serving_config

    written = write_serving_config(
        options.base,
        name=options.name,
        max_batch_size=options.max_batch_size,
        batch_timeout_micros=options.batch_timeout_micros,
    )
    for path in (written.models, written.batching, written.warm_up):
        print(path)
    print(written.command)
