"""`keras-prompt tasks`."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from keras_prompt.cli.arguments import natural_number
from keras_prompt.cli.facts import print_facts

if TYPE_CHECKING:
    from keras_prompt.tasks.task import Task

EXAMPLE = "keras-prompt tasks prepare super_glue/rte --from downloads/RTE"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Without a further word, it lists."""
    parser.add_argument("--json", action="store_true", help="names as JSON")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    listing = actions.add_parser(
        "list",
        help="the tasks' names (default)",
        epilog="example: keras-prompt tasks list",
    )
    _add_json(listing, "names as JSON")
    show = actions.add_parser(
        "show",
        help="a task's data set, labels and texts",
        epilog="example: keras-prompt tasks show super_glue/rte --rows 2",
    )
    show.add_argument("task", help="a task's name")
    show.add_argument(
        "--rows",
        type=natural_number,
        default=0,
        help="texts to show, which loads the data set (0)",
    )
    show.add_argument("--split", default="validation", help="(validation)")
    show.add_argument("--data-dir", help="of TensorFlow Datasets")
    _add_json(show, "as JSON")
    _add_prepare(actions)


def _add_prepare(actions: Any) -> None:
    prepare = actions.add_parser(
        "prepare",
        help="build a data set from official files in a local folder",
        epilog=f"example: {EXAMPLE}",
    )
    add = prepare.add_argument
    add("task", help="a task's name")
    add("--from", dest="source", required=True, help="folder of the files")
    add("--data-dir", help="of TensorFlow Datasets")
    add(
        "--file",
        action="append",
        default=[],
        metavar="SPLIT=NAME",
        help="another file for a split, e.g. train=train.part.jsonl",
    )
    add(
        "--allow-missing",
        action="store_true",
        help="leave out splits whose files are absent",
    )


def _add_json(parser: argparse.ArgumentParser, help_line: str) -> None:
    # The option stands before or after the action; an absent one after must
    # not undo one before.
    parser.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help=help_line,
    )


def run(options: argparse.Namespace) -> None:
    """Lists the tasks, shows one, or prepares one's data.

    Raises:
        ValueError: an unknown task, or files that are not its own.
        FileNotFoundError: the data or the files are absent.
    """
    from keras_prompt import tasks

    if options.action in (None, "list"):
        names = tasks.names()
        print(json.dumps(names) if options.json else "\n".join(names))
        return
    task = tasks.get(options.task, data_dir=options.data_dir)
    if options.action == "show":
        _show(task, options)
    else:
        _prepare(options)


def _show(task: "Task", options: argparse.Namespace) -> None:
    from keras_prompt import tasks

    facts: dict[str, Any] = {
        "name": task.name,
        "labels": list(task.labels),
        "is_closed": task.closed,
    }
    source = task.source
    if isinstance(source, tasks.TfdsSource):
        facts |= {
            "tfds_name": f"{source.name}:{source.version}",
            "rows": dict(source.rows),
            "folder": str(source.folder),
            "is_prepared": source.folder.is_dir(),
        }
    else:
        facts["splits"] = list(source.splits)
    if options.rows:
        from keras_prompt.cli.quiet import import_tensorflow

        import_tensorflow()
        facts["examples"] = [
            {"inputs": row["inputs"], "targets": row["targets"]}
            for row in task.examples(options.split)[: options.rows]
        ]
    if options.json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    examples = facts.pop("examples", ())
    print_facts(facts)
    for row in examples:
        print(f"\n{row['inputs']}\n-> {row['targets']}")


def _prepare(options: argparse.Namespace) -> None:
    files = {}
    for given in options.file:
        split, equals, name = given.partition("=")
        if not (split and equals and name):
            raise ValueError(
                "`--file` takes a split and a file's name, as in "
                f"train=train.part.jsonl. Received: {given}"
            )
        files[split] = name
    from keras_prompt.cli.quiet import import_tensorflow

    import_tensorflow()
    from keras_prompt.tasks.prepare import prepare

    print(
        prepare(
            options.task,
            options.source,
            data_dir=options.data_dir,
            files=files,
            allow_missing=options.allow_missing,
        )
    )
