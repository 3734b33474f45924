"""Wrong arguments: one line, exit code 2, before TensorFlow is imported."""

import argparse

import pytest

from keras_prompt.cli import arguments
from keras_prompt.cli import main as cli

TUNE = ["tune", "super_glue/rte", "--preset", "p", "--output", "o"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            [*TUNE, "--prompt-length", "0"],
            "argument --prompt-length: must be a positive integer. Received: 0",
        ),
        (
            [*TUNE, "--prompt-length", "-3"],
            "argument --prompt-length: must be a positive integer. "
            "Received: -3",
        ),
        (
            [*TUNE, "--steps", "many"],
            "argument --steps: must be a positive integer. Received: many",
        ),
        (
            [*TUNE, "--learning-rate", "nan"],
            "argument --learning-rate: must be a positive number. "
            "Received: nan",
        ),
        (
            [*TUNE, "--dropout-rate", "1"],
            "argument --dropout-rate: must be at least 0 and below 1. "
            "Received: 1",
        ),
        (
            ["evaluate", "--prompt", "p", "--limit", "0"],
            "argument --limit: must be a positive integer. Received: 0",
        ),
        (
            ["pretrain", "a.txt", "--vocabulary", "v"],
            "the following arguments are required: --output",
        ),
        (
            ["predict", "--preset", "p", "--target-length", "2147483647", "x"],
            "argument --target-length: must be at most 2,147,483,646. "
            "Received: 2147483647",
        ),
        (
            [*TUNE, "--target-length", "2147483647"],
            "argument --target-length: must be at most 2,147,483,646. "
            "Received: 2147483647",
        ),
        (
            [
                *("serve-export", "p", "--output", "o", "--releases"),
                *("--target-length", "2147483647"),
            ],
            "argument --target-length: must be at most 2,147,483,646. "
            "Received: 2147483647",
        ),
        (["tunee"], "Unknown verb 'tunee'. Did you mean 'tune'?"),
        ([], "the following arguments are required: VERB"),
        (["models", "--jsn"], "unrecognized arguments: --jsn"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(capsys, given, message):
    with pytest.raises(SystemExit, match="2"):
        cli.main(given)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("keras-prompt")
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


def test_the_version_is_printed(capsys):
    from keras_prompt.version import __version__

    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (arguments.positive_integer, "1", 1),
        (arguments.natural_number, "0", 0),
        (arguments.written_length, "1", 1),
        (arguments.positive_number, "0.3", 0.3),
        (arguments.probability, "0", 0.0),
    ],
)
def test_the_smallest_values_are_taken(kind, text, value):
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (arguments.positive_integer, "1.5"),
        (arguments.written_length, "0"),
        (arguments.written_length, "2147483647"),
        (arguments.natural_number, "-1"),
        (arguments.positive_integer, "2147483648"),
        (arguments.natural_number, "9" * 40),
        (arguments.positive_number, "inf"),
        (arguments.positive_number, "0"),
        (arguments.probability, "-0.1"),
    ],
)
def test_a_value_out_of_range_names_what_came(kind, text):
    with pytest.raises(argparse.ArgumentTypeError, match=f"Received: {text}"):
        kind(text)
