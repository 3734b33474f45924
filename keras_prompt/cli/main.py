"""Reads the command line and runs one verb."""

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from keras_prompt.registry import lookup
from keras_prompt.version import __version__

# Module and one line of help; modules import TensorFlow only when they run.
_VERBS = {
    "tune": "tune a prompt for a task",
    "evaluate": "score a prompt on a task",
    "predict": "answer texts with a prompt",
    "export": "export a run's prompt, or turn a prompt into another format",
    "serve-export": "write a model for TensorFlow Serving",
    "serve-assemble": "put prompts and a base into one release to serve",
    "serve-config": "write what TensorFlow Serving needs beside a server",
    "inspect": "show a prompt's card and nearest words",
    "tasks": "list tasks, show one, or prepare its data from local files",
    "models": "list models, show one, or write one in another format",
    "plan": "say which mesh fits a model, and what each device holds",
    "pretrain": "make a T5 from plain text",
    "adapt": "LM-adapt a T5, so that it takes prompts",
}
_USERS_ERROR = 1
_WRONG_ARGUMENTS = 2
_INTERRUPTED = 130  # the shell's convention: 128 + SIGINT


class _Parser(argparse.ArgumentParser):
    """Answers wrong arguments with one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        line = f"{self.prog}: error: {message} (see {self.prog} --help)\n"
        self.exit(_WRONG_ARGUMENTS, line)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code.

    Raises:
        SystemExit: after --help, --version or wrong arguments.
    """
    _open_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parse(given)
    try:
        options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        return _fail(str(interrupt) or "interrupted", _INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) has enough. Python flushes once more on its
        # way out; that must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        return _fail(f"error: {' '.join(str(error).split())}", _USERS_ERROR)
    return 0


def _open_streams() -> None:
    """Standard streams that are there and take every character."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # the caller closed it
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    # What an older encoding lacks comes out escaped, as on standard error.
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper) and out.errors == "strict":
        out.reconfigure(errors="backslashreplace")


def _fail(line: str, code: int) -> int:
    print(f"keras-prompt: {line}", file=sys.stderr)
    return code


def parse(given: list[str]) -> argparse.Namespace:
    """The options of one command line.

    Raises:
        SystemExit: after --help, --version or wrong arguments.
    """
    parser = _Parser(
        prog="keras-prompt",
        description="Prompt tuning: one frozen T5, one small matrix a task.",
        epilog="keras-prompt VERB --help shows a verb's options and an "
        "example.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for verb, help_line in _VERBS.items():
        module = importlib.import_module(
            f"keras_prompt.cli.{verb.replace('-', '_')}"
        )
        sub = verbs.add_parser(
            verb,
            help=help_line,
            description=help_line[0].upper() + help_line[1:] + ".",
            epilog=f"example: {module.EXAMPLE}",
        )
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    if given and not given[0].startswith("-"):
        try:
            lookup("verb", given[0], _VERBS)
        except ValueError as error:
            parser.error(str(error))
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
