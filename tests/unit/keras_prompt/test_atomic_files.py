"""Folders take their place whole, or not at all."""

import pytest

from keras_prompt.atomic_files import new_folder


def test_a_folder_takes_its_place_when_it_is_filled(tmp_path):
    folder = tmp_path / "above" / "model"
    for text in ("first", "second"):
        with new_folder(folder) as partial:
            (partial / f"{text}.txt").write_text(text)
            assert not (folder / f"{text}.txt").exists()
        assert [path.name for path in folder.iterdir()] == [f"{text}.txt"]
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_that_cannot_be_filled_leaves_all_as_it_was(
    tmp_path, is_there
):
    folder = tmp_path / "model"
    if is_there:
        folder.mkdir()
        (folder / "old.txt").write_text("old")

    def fill():
        with new_folder(folder) as partial:
            (partial / "new.txt").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill()
    assert [path.name for path in tmp_path.iterdir()] == ["model"] * is_there
    assert not is_there or (folder / "old.txt").read_text() == "old"
