"""`keras-prompt serve-assemble`."""

import argparse

EXAMPLE = "keras-prompt serve-assemble release-base releases/base/1 prompts/*"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    add = parser.add_argument
    add("base", help="folder of serve-export --releases")
    add("destination", help="folder to make, such as server/2")
    add("prompts", nargs="+", help="folders of exported prompts")


def run(options: argparse.Namespace) -> None:
    """Assembles, and prints what it cost.

    Raises:
        FileNotFoundError: there is no such base or prompt.
        ValueError: they do not fit together.
        OSError: the destination cannot be written.
    """
    from keras_prompt.cli.quiet import import_tensorflow

    import_tensorflow()
    from keras_prompt.export.assemble import assemble_release

    release = assemble_release(
        options.base, options.destination, options.prompts
    )
    print(
        f"{options.destination} · {len(release.tasks)} tasks: "
        f"{', '.join(release.tasks)} · {release.new_bytes:,} new bytes · "
        f"{1000 * release.seconds:.0f} ms"
    )
