"""What README.md tells a newcomer to type works as it stands."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from keras_prompt.cli import main as cli
from keras_prompt.prompt_files import read_prompt

_README = Path(__file__).parents[2] / "README.md"
_FACTS = [
    ("The road is wet.", "It rained.", "not_entailment"),
    ("Bo ran home.", "Bo moved.", "entailment"),
]
# What a reader would have tuned in the meantime.
_SECOND_PROMPT = """
kp.export_prompt(
    model, "prompts/boolq", task="super_glue/boolq", label_words=("a", "b")
)
"""


@pytest.fixture
def data_dir(tmp_path):
    """RTE in the official files' form, 64 rows, prepared as README says."""
    folder = tmp_path / "downloads" / "RTE"
    folder.mkdir(parents=True)
    for name, repeats in (("train", 32), ("val", 4), ("test", 1)):
        rows = [
            {"premise": premise, "hypothesis": hypothesis, "label": label}
            | {"idx": index}
            for index, (premise, hypothesis, label) in enumerate(
                _FACTS * repeats
            )
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines)
    data_dir = tmp_path / "data"
    arguments = ["tasks", "prepare", "super_glue/rte", "--from", str(folder)]
    assert cli.main([*arguments, "--data-dir", str(data_dir)]) == 0
    return data_dir


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path, data_dir):
    one, many = re.findall(r"```python\n(.*?)```", _README.read_text(), re.S)
    program = one + _SECOND_PROMPT + many
    process = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ
        | {
            "TFDS_DATA_DIR": str(data_dir),
            "PYTHONPATH": str(_README.parent),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "step 6 · super_glue/rte · accuracy" in process.stdout
    prompt, card = read_prompt(tmp_path / "prompts" / "rte")
    assert prompt.shape == (20, 192)
    assert card.label_words == ("entailment", "not_entailment")
    assert card.score is not None  # only the best prompt has one
    assert (tmp_path / "runs/rte/checkpoint.safetensors").is_file()


def test_the_commands_of_the_readme_are_commands():
    text = _README.read_text().replace("\\\n", " ")
    commands = re.findall(r"^    keras-prompt (.*)$", text, re.M)
    assert len(commands) >= 4
    for command in commands:
        options = cli.parse(shlex.split(command))
        assert callable(options.run)
