"""The code of tasks/README.md runs as it stands."""

import re
import shlex
from pathlib import Path

import pytest

from keras_prompt import tasks
from keras_prompt.cli import main as cli

_README = Path(tasks.__file__).with_name("README.md")
pytestmark = pytest.mark.skipif(
    not _README.is_file(), reason="a wheel has no README here"
)
_HEADER = "review,verdict\n"


@pytest.fixture
def programs(tmp_path, monkeypatch, registered):
    """The page's programs, in a folder with the files they read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "films.csv").write_text(f"{_HEADER}fine,good\n")
    rows = "".join(f"fine {n},good\ndull {n},bad\n" for n in range(4))
    (tmp_path / "films_dev.csv").write_text(_HEADER + rows)
    return re.findall(r"```python\n(.*?)```", _README.read_text(), re.S)


def test_the_tasks_of_the_readme_work(programs):
    register, _, preprocess = programs
    assert len(register.strip().splitlines()) <= 14
    exec(register, {})
    row = {"inputs": "fine", "targets": "good"}
    assert tasks.get("films").examples("train") == [row]

    names = {}
    exec(preprocess, names)
    stars = [{"review": "fine", "stars": 5}, {"review": "dull", "stars": 2}]
    rows = tasks.RowsSource({"train": stars}).dataset("train")
    found = names["verdict_in_words"](rows).as_numpy_iterator()
    assert [row["targets"] for row in found] == [b"good", b"bad"]


@pytest.mark.slow
@pytest.mark.usefixtures("keep_stderr")
def test_a_task_of_ones_own_is_tuned_and_answered(programs, tmp_path, capsys):
    """With two steps instead of the page's."""
    register, tune, _ = programs
    for setting, value in (("steps", 2), ("evaluate_every", 1)):
        tune, count = re.subn(rf"\b{setting}=\d+", f"{setting}={value}", tune)
        assert count == 1
    exec(register, {})
    exec(tune, {})
    assert (tmp_path / "runs/films/checkpoint.safetensors").is_file()
    capsys.readouterr()
    (command,) = re.findall(
        r"^keras-prompt (predict .*)$", _README.read_text(), re.M
    )
    assert cli.main(shlex.split(command)) == 0
    assert capsys.readouterr().out.strip() in ("good", "bad")
