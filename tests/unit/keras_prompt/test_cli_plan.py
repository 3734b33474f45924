"""`keras-prompt plan`, as a user types it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from keras_prompt.arguments import LARGEST
from keras_prompt.cli.main import main

_DOCUMENT = Path(__file__).parents[3] / "docs" / "devices.md"


def test_a_plan_is_printed(capsys):
    line = "plan --model xxl --devices 8 --memory 16GB --rematerialize"
    assert main([*line.split(), "--batch-size", "16"]) == 0
    output = capsys.readouterr().out
    assert "batch:2;model:4" in output
    assert "fits                  yes" in output


def test_a_plan_that_does_not_fit_says_what_does(capsys):
    line = ["plan", "--model", "xxl", "--memory", "16GB"]
    assert main([*line, "--devices", "8"]) == 0
    output = capsys.readouterr().out
    assert "fits                  no" in output
    assert (
        "fits with --rematerialize --batch-size 16: in Python, from_preset("
        "..., dtype='bfloat16', rematerialize=True, "
        "mesh_shape='batch:2;model:4', "
        "layout='batch:batch;heads:model;d_ff:model;vocab:model') and "
        "make_dataset(..., batch_size=16)"
    ) in output.splitlines()
    assert main(line) == 0
    assert "use more devices" in capsys.readouterr().out


def test_as_many_devices_as_there_can_be_take_no_longer(capsys):
    devices = str(LARGEST)  # a prime
    line = ["plan", "--model", "small", "--memory", "8GiB", "--devices"]
    assert main([*line, devices]) == 0
    assert f"batch:{devices}" in capsys.readouterr().out


def test_a_plan_as_json(capsys):
    assert main(["plan", "--model", "small", "--memory", "8GiB", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    parts = ("weights", "activations", "state")
    assert found["total"] == sum(found[part] for part in parts)


def test_the_table_in_the_documentation_is_what_the_command_prints(capsys):
    assert main(["plan", "--table", "--rematerialize"]) == 0
    table = capsys.readouterr().out
    assert len(table.splitlines()) == 2 + 5 * 9
    assert table in _DOCUMENT.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("--model xll --memory 1GB", 1, "Did you mean 'xl'"),
        ("--model xl", 1, "give --model and --memory, or --table"),
        ("--model xl --memory 16G", 2, "must be a size such as 16GB"),
        ("--model xl --memory 0GB", 2, "must be a size such as 16GB"),
        ("--model xl --memory 1GB --devices 0", 2, "a positive integer"),
        (f"--model xl --memory {'9' * 400}GB", 2, "must be a size such as"),
        ("--model xl --memory 0.0000001MB", 2, "must be a size such as 16GB"),
        ("--table --json", 1, "--json does not go with --table"),
        ("--table --model xl", 1, "--model does not go with --table"),
        ("--table --devices 1", 1, "--devices does not go with --table"),
        ("--table --memory 1GB", 1, "--memory does not go with --table"),
    ],
)
def test_wrong_arguments_are_one_line(capsys, arguments, code, words):
    try:
        found = main(["plan", *arguments.split()])
    except SystemExit as exit_:
        found = exit_.code
    captured = capsys.readouterr()
    assert found == code
    assert words in captured.err
    assert len(captured.err.splitlines()) == 1


def test_a_plan_needs_no_tensorflow():
    program = (
        "import sys\n"
        "from keras_prompt.cli.main import main\n"
        "main('plan --model xl --devices 2 --memory 16GB'.split())\n"
        "print('tensorflow' in sys.modules)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.splitlines()[-1] == "False"
