"""A run's history.csv: what is no history is refused in one way."""

import pytest

from keras_prompt.training.history_file import read_rows, write_rows


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "history.csv"
    assert read_rows(path) == []
    write_rows(path, ["step", "loss"], [{"step": 2, "loss": 0.5}])
    assert read_rows(path) == [{"step": "2", "loss": "0.5"}]


@pytest.mark.parametrize(
    "text",
    [
        b"step,loss\n2," + b"5" * 131_073 + b"\n",
        b"step,loss\n\x00,0.5\n",
        b"step,loss\n\xff,0.5\n",
        "step,loss\n\u00b2,0.5\n".encode(),
        b"step;loss\n2;0.5\n",
    ],
    ids=["a huge field", "a NUL", "no UTF-8", "a superscript", "semicolons"],
)
def test_what_is_no_history_is_refused_with_what_to_do(tmp_path, text):
    path = tmp_path / "history.csv"
    path.write_bytes(text)
    with pytest.raises(
        ValueError,
        match=rf"^{path} is no history of a run: .* Put it back as it was, or",
    ):
        read_rows(path)
