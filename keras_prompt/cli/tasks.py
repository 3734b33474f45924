"""`keras-prompt tasks`."""

import argparse
import json

EXAMPLE = "keras-prompt tasks prepare super_glue/rte --from downloads/RTE"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Without a further word, it lists."""
    parser.add_argument("--json", action="store_true", help="names as JSON")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    prepare = actions.add_parser(
        "prepare",
        help="build a data set from official files in a local folder",
        epilog=f"example: {EXAMPLE}",
    )
    prepare.add_argument("task", help="a task's name")
    prepare.add_argument(
        "--from", dest="source", required=True, help="folder of the files"
    )
    prepare.add_argument("--data-dir", help="of TensorFlow Datasets")
    prepare.add_argument(
        "--allow-missing",
        action="store_true",
        help="leave out splits whose files are absent or partial",
    )


def run(options: argparse.Namespace) -> None:
    """Lists the tasks, or prepares one."""
    from keras_prompt import tasks

    if options.action == "prepare":
        from keras_prompt.cli.quiet import import_tensorflow

        import_tensorflow()
        from keras_prompt.tasks.prepare import prepare

        summary = prepare(
            options.task,
            options.source,
            data_dir=options.data_dir,
            allow_missing=options.allow_missing,
        )
        print(summary)
    elif options.json:
        print(json.dumps(list(tasks.names())))
    else:
        print("\n".join(tasks.names()))
