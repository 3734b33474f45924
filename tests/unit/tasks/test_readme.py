"""The code of tasks/README.md runs as it stands."""

import re
from pathlib import Path

import pytest
import tensorflow as tf

from keras_prompt import tasks

_README = Path(tasks.__file__).with_name("README.md")


@pytest.mark.skipif(not _README.is_file(), reason="a wheel has no README here")
def test_the_tasks_of_the_readme_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tasks, "_registered", {})
    (tmp_path / "films.csv").write_text("review,verdict\nfine,good\n")
    first, second = re.findall(
        r"```python\n(.*?)```", _README.read_text(), re.S
    )
    names = {"tf": tf}
    exec(first, names)
    assert len(first.strip().splitlines()) <= 14
    row = {"inputs": "fine", "targets": "good"}
    assert tasks.get("films").examples("train") == [row]

    exec(second, names)
    stars = [{"review": "fine", "stars": 5}, {"review": "dull", "stars": 2}]
    rows = tasks.RowsSource({"train": stars}).dataset("train")
    found = names["verdict_in_words"](rows).as_numpy_iterator()
    assert [row["targets"] for row in found] == [b"good", b"bad"]
