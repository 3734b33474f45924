"""Folders take their place whole, or not at all."""

import pytest

from keras_prompt.atomic_files import new_folder, write_file


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


@pytest.mark.parametrize("is_there", [True, False])
def test_of_a_link_what_it_leads_to_is_written(tmp_path, is_there):
    disk = tmp_path / "large_disk"
    disk.mkdir()
    for name in ("folder", "file"):
        (tmp_path / name).symlink_to(disk / name)
    if is_there:
        (disk / "folder").mkdir()
        (disk / "file").write_text("old")
    with new_folder(tmp_path / "folder") as partial:
        (partial / "new.txt").write_text("whole")
    write_file(tmp_path / "file", "new")
    assert (disk / "folder" / "new.txt").read_text() == "whole"
    assert (disk / "file").read_text() == "new"
    assert sorted(path.name for path in disk.iterdir()) == ["file", "folder"]
    assert all((tmp_path / name).is_symlink() for name in ("folder", "file"))
