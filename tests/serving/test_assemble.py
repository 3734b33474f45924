"""Fixed releases: one SavedModel, almost all of it hard links."""

import shutil

import pytest
import served as outside
import tensorflow as tf
from asked import TEXTS, assert_right, call, request

from keras_prompt.cli import main as cli
from keras_prompt.export.assemble import assemble_release
from keras_prompt.export.server import export_server, read_server_card
from keras_prompt.models.t5.backbone import MeshT5Backbone


@pytest.fixture(scope="module")
def base(served, tmp_path_factory):
    folder = tmp_path_factory.mktemp("releases") / "base"
    backbone = served.alone["films"].backbone
    size = export_server(backbone, folder, None, input_length=24, max_length=6)
    weights = sum(w.numpy().nbytes for w in backbone.weights)
    graph = (folder / "saved_model.pb").stat().st_size
    assert size < weights + graph + 30_000
    return folder


@pytest.fixture
def prompts(served):
    return [served.root / "films", served.root / "dogs"]


def ask(folder, inputs):
    loaded = tf.saved_model.load(str(folder))
    return call(loaded.signatures, "serving_default", inputs)


def test_a_release_answers_as_the_prompts_alone(served, base, prompts):
    folder = base.parent / "server/1"
    release = assemble_release(base, folder, prompts)
    assert release.tasks == ("films", "dogs")
    assert read_server_card(folder).tasks == ("films", "dogs")
    assert_right(served, "generate", ask(folder, request(served)))
    found = ask(folder, request(served, TEXTS, ["films", "nobody", "", "dogs"]))
    assert found["status"].tolist() == [
        b"ok",
        b"unknown task",
        b"unknown task",
        b"ok",
    ]


def test_a_base_without_prompts_knows_no_task(served, base):
    found = ask(base, request(served))
    assert found["status"].tolist() == [b"unknown task"] * 4


def test_new_bytes_are_the_prompts_not_the_base(served, base, prompts):
    folder = base.parent / "server/2"
    release = assemble_release(base, folder, prompts)
    numbers = 4 * 2 * 5 * 16  # both padded to the longer
    assert numbers < release.new_bytes < numbers + 4000
    new = {p for p in folder.rglob("*") if p.stat().st_nlink == 1}
    shards = {p.name for p in new if "variables" in p.name and p.is_file()}
    assert shards == {
        "variables.index",
        "variables.data-00001-of-00002",
    }
    # The base is as it was, and serves on.
    assert {p.name for p in (base / "frozen_part").iterdir()} == {
        "frozen.index",
        "frozen.data-00000-of-00001",
    }
    assert not list(folder.parent.glob(".*"))


def test_a_release_is_replaced_in_one_step(served, base, prompts):
    folder = base.parent / "server/3"
    assemble_release(base, folder, prompts[:1])
    assemble_release(base, folder, prompts)
    assert read_server_card(folder).tasks == ("films", "dogs")
    assert_right(served, "generate", ask(folder, request(served)))


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_a_c_program_runs_a_release(served, base, prompts, tmp_path):
    folder = base.parent / "server/4"
    assemble_release(base, folder, prompts)
    program = outside.compile_loader(tmp_path)
    name = "serving_default"
    found = outside.run_in_c(program, folder, name, request(served))
    assert_right(served, name, found)


@pytest.mark.usefixtures("keep_stderr")
def test_the_verb_prints_tasks_new_bytes_and_time(base, prompts, capsys):
    folder = str(base.parent / "server/5")
    arguments = ["serve-assemble", str(base), folder, *map(str, prompts)]
    assert cli.main(arguments) == 0
    line = capsys.readouterr().out
    assert "2 tasks: films, dogs" in line
    assert "new bytes" in line
    assert line.rstrip().endswith("ms")


def test_what_does_not_fit_is_refused_and_leaves_nothing(
    served, base, prompts, tmp_path
):
    target = base.parent / "server/9"
    config = served.alone["films"].backbone.config
    other = MeshT5Backbone(config, seed=9, preset="t5_of_others")
    served.add("foreign", 2, 0, other)
    shutil.copytree(prompts[0], tmp_path / "bad name")
    shutil.copytree(prompts[0], tmp_path / "films")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("all of it")
    foreign = served.root / "foreign"
    cases = [
        ((base, target, [*prompts, foreign]), "tuned on t5_of_others"),
        ((base, target, [tmp_path / "bad name"]), "name must match"),
        ((base, target, [prompts[0], tmp_path / "films"]), "Two prompts"),
        ((base, target, []), "`prompts` must be several"),
        ((served.base, target, prompts), "no base of releases"),
        ((base, tmp_path / "mine", prompts), "holds no exported server"),
        ((base, base, prompts), "must lie outside the base"),
        ((base, base / "2", prompts), "must lie outside the base"),
    ]
    files = sorted(base.rglob("*"))
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            assemble_release(*arguments)
    with pytest.raises(FileNotFoundError):
        assemble_release(base, target, [tmp_path / "nowhere"])
    with pytest.raises(FileNotFoundError):
        assemble_release(tmp_path / "nowhere", target, prompts)
    shutil.rmtree(foreign)
    assert sorted(base.rglob("*")) == files
    assert not target.exists()
    assert not list(target.parent.glob(".*"))


@pytest.mark.parametrize("keep", [None, 0, 100, -1])
@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
def test_a_damaged_base_makes_no_release(base, prompts, tmp_path, part, keep):
    base = shutil.copytree(base, tmp_path / "base")
    target = tmp_path / "server/7"
    assemble_release(base, target, prompts[:1])
    file = base / "frozen_part" / f"frozen.{part}"
    whole = file.read_bytes()
    file.unlink()  # the release links to it
    if keep is not None:
        file.write_bytes(whole[:keep])
    with pytest.raises(
        ValueError, match=r"frozen_part is damaged \(.+\)\. Exp"
    ):
        assemble_release(base, target, prompts)
    assert read_server_card(target).tasks == ("films",)


def test_a_full_disk_is_said_in_a_line_and_leaves_nothing(
    base, prompts, monkeypatch
):
    def full(**_):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left")

    monkeypatch.setattr(tf.raw_ops, "SaveV2", full)
    target = base.parent / "server/6"
    with pytest.raises(OSError, match=r"cannot be written to .* No space left"):
        assemble_release(base, target, prompts)
    assert not target.exists()
    assert not list(target.parent.glob(".*"))


def test_a_file_system_without_links_is_named(base, prompts, monkeypatch):
    def refuse(source, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    target = base.parent / "server/8"
    with pytest.raises(OSError, match="in the file system of its base"):
        assemble_release(base, target, prompts)
    assert not target.exists()
    assert not list(target.parent.glob(".*"))
