"""Reads the command line and runs one verb."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

# Module and one line of help; modules import TensorFlow only when they run.
_VERBS = {
    "tune": "tune a prompt for a task",
    "evaluate": "score a prompt on a task",
    "predict": "answer texts with a prompt",
    "export": "export a run's prompt",
    "inspect": "show a prompt's card and nearest words",
    "tasks": "list tasks, or prepare their data from local files",
    "models": "list models",
    "pretrain": "make a T5 from plain text",
    "adapt": "LM-adapt a T5, so that it takes prompts",
}
_INTERRUPTED = 130  # the shell's convention: 128 + SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    # TensorFlow reads these when it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        options.run(options)
    except KeyboardInterrupt as interrupt:
        reason = str(interrupt) or "interrupted"
        print(f"keras-prompt: {reason}", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        return 0
    except (ValueError, OSError) as error:
        print(f"keras-prompt: error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="keras-prompt",
        description="Prompt tuning: one frozen T5, one small matrix a task.",
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for verb, help_line in _VERBS.items():
        module = importlib.import_module(f"keras_prompt.cli.{verb}")
        sub = verbs.add_parser(
            verb,
            help=help_line,
            description=help_line[0].upper() + help_line[1:] + ".",
            epilog=f"example: {module.EXAMPLE}",
        )
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
