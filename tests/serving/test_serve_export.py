"""`keras-prompt serve-export`: from a preset to a folder that is served."""

import os
import subprocess
import sys

import command_line
import pytest
import tensorflow as tf
from asked import TEXTS, call, request

from keras_prompt.export.server import export_server, read_server_card

pytestmark = pytest.mark.usefixtures("keep_stderr")


def run(capsys, *arguments):
    return command_line.run(capsys, "serve-export", *arguments)


@pytest.mark.parametrize("option", [(), ("--text",)])
def test_a_preset_becomes_a_server_of_the_prompts_in_a_folder(
    capsys, served, preset, tmp_path, option
):
    target = tmp_path / "server/base/1"
    lengths = ("--input-length", 24, "--target-length", 6)
    root = ("--prompt-root", served.root)
    code, out, err = run(
        capsys, preset, "--output", target, *root, *lengths, *option
    )
    size = sum(p.stat().st_size for p in target.rglob("*") if p.is_file())
    assert (code, out, err) == (0, f"{target} · {size:,} bytes\n", "")
    card = read_server_card(target)
    assert (card.input_length, card.max_length) == (24, 6)
    assert card.prompt_root == str(served.root)
    assert card.takes_text == bool(option)
    signatures = tf.saved_model.load(str(target)).signatures
    assert ("generate_text" in signatures) == bool(option)
    found = call(signatures, "generate", request(served))
    assert found["status"].tolist() == [b"ok"] * len(TEXTS)


def test_the_base_of_releases_is_what_serve_assemble_takes(
    capsys, served, preset, tmp_path
):
    base, release = tmp_path / "base", tmp_path / "server/1"
    assert run(capsys, preset, "--output", base, "--releases")[0] == 0
    prompts = [str(served.root / name) for name in ("films", "dogs")]
    assemble = ("serve-assemble", base, release, *prompts)
    assert command_line.run(capsys, *assemble)[0] == 0
    assert read_server_card(release).tasks == ("films", "dogs")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tinny", "--output", "out", "--prompt-root", "p"], "Unknown preset"),
        (
            ["no/model", "--output", "out", "--prompt-root", "p"],
            "No checkpoint",
        ),
        (["PRESET", "--output", "mine", "--prompt-root", "p"], "holds no exp"),
        (["PRESET", "--output", "out", "--prompt-root", "p*"], "must not cont"),
        (
            ["PRESET", "--output", "mine/thesis.txt/1", "--releases"],
            "cannot be written to mine/thesis.txt/1",
        ),
        (["PRESET", "--output", "out"], "--prompt-root --releases is required"),
        (["PRESET", "--prompt-root", "p"], "required: --output"),
        (
            ["PRESET", "--output", "o", "--prompt-root", "p", "--releases"],
            "not allowed with",
        ),
        (
            ["PRESET", "--output", "o", "--releases", "--input-length", "0"],
            "must be a positive integer",
        ),
    ],
)
def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(
    capsys, preset, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("all of it")
    before = sorted(tmp_path.rglob("*"))
    arguments = [a.replace("PRESET", preset) for a in arguments]
    code, out, err = run(capsys, *arguments)
    assert code in (1, 2)
    assert (out, len(err.splitlines())) == ("", 1)
    assert message in err
    assert sorted(tmp_path.rglob("*")) == before


def test_what_fails_half_way_leaves_what_was_there(
    capsys, served, preset, tmp_path, monkeypatch
):
    target = tmp_path / "server/1"
    backbone = served.alone["films"].backbone
    export_server(backbone, target, "prompts", max_length=3)

    def fill_the_disk(folder, card):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        "keras_prompt.export.server.write_server_card", fill_the_disk
    )
    again = (preset, "--output", target, "--prompt-root", "prompts")
    code, out, err = run(capsys, *again)
    assert (code, out) == (1, "")
    assert "No space left" in err
    assert read_server_card(target).max_length == 3
    assert [path.name for path in target.parent.iterdir()] == ["1"]


@pytest.mark.slow
def test_a_process_prints_one_line(preset, tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "keras_prompt.cli.main", "serve-export"),
            *(preset, "--output", "1", "--prompt-root", "prompts", "--text"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
