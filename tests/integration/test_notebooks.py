"""The notebooks run from their first cell to their last, on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from keras_prompt.prompt_files import read_prompt

_NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
# What a notebook does: cell after cell in one namespace.
_RUN = (
    "import json, sys\n"
    "names = {'__name__': '__main__'}\n"
    "for number, code in enumerate(json.load(sys.stdin)):\n"
    "    exec(compile(code, f'cell {number}', 'exec'), names)\n"
)


def cells(name, kind):
    notebook = json.loads((_NOTEBOOKS / name).read_text())
    return [
        "".join(cell["source"])
        for cell in notebook["cells"]
        if cell["cell_type"] == kind
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "prompt", "said"),
    [
        ("quickstart.ipynb", "prompts/first_word", "step 40 · first_word"),
        ("colab_tpu.ipynb", "prompts/colab", "No distribution: "),
    ],
)
def test_a_notebook_runs_on_a_cpu(tmp_path, name, prompt, said):
    environment = os.environ | {"PYTHONPATH": str(_NOTEBOOKS.parent)}
    for variable in ("TPU_NAME", "TF_CONFIG"):
        environment.pop(variable, None)
    process = subprocess.run(
        [sys.executable, "-c", _RUN],
        input=json.dumps(cells(name, "code")),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert said in process.stdout
    assert read_prompt(tmp_path / prompt).prompt.shape == (20, 192)


@pytest.mark.parametrize("name", ["quickstart.ipynb", "colab_tpu.ipynb"])
def test_a_notebook_is_stored_without_what_it_printed(name):
    notebook = json.loads((_NOTEBOOKS / name).read_text())
    assert notebook["nbformat"] == 4
    assert cells(name, "markdown")[0].startswith("# ")
    for cell in notebook["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
