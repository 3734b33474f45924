"""`export` and `inspect` on prompts of other tools."""

import json

import numpy as np
import pytest
from command_line import run

from keras_prompt.cli import export
from keras_prompt.export.prompt import export_prompt
from keras_prompt.prompt_files import read_prompt
from keras_prompt.prompt_formats import formats

pytestmark = pytest.mark.usefixtures("keep_stderr")

PROMPT = np.arange(48, dtype=np.float32).reshape(3, 16)
RELEASED = "prompt_tuning/pretrained_prompts/t5_1_1_lm100k_base"


@pytest.fixture
def foreign(tmp_path):
    np.save(tmp_path / "theirs.npy", PROMPT)
    return str(tmp_path / "theirs.npy")


@pytest.fixture
def exported(tiny_model, tmp_path):
    tiny_model.prompt.embeddings.assign(PROMPT)
    export_prompt(tiny_model, tmp_path / "mine", task="glue/sst2", steps=7)
    return str(tmp_path / "mine")


def test_another_tools_prompt_is_given_a_card_and_used(
    capsys, foreign, preset, tmp_path
):
    made = str(tmp_path / "made")
    about = ("--preset", preset, "--task", "glue/sst2")
    code, out, _ = run(capsys, "export", foreign, made, *about)
    assert code == 0
    assert out.startswith(f"{made} · ")
    prompt, card = read_prompt(made)
    np.testing.assert_array_equal(prompt, PROMPT)
    assert (card.base, card.task) == ("tiny", "glue/sst2")
    assert card.label_words == ("negative", "positive")
    model = ("--prompt", made, "--preset", preset, "--answer-by", "rank")
    code, out, _ = run(capsys, "predict", *model, "a film")
    assert code == 0
    assert out.strip() in card.label_words


def test_an_exported_prompt_goes_to_every_format_and_back(
    capsys, exported, tmp_path
):
    for name, arguments in (
        ("p.npy", ()),
        ("adapter", ("--format", "peft")),
        ("copy", ("--format", "saved_model")),
    ):
        made = tmp_path / name
        code, out, _ = run(capsys, "export", exported, str(made), *arguments)
        files = [made] if made.is_file() else made.rglob("*")
        size = sum(p.stat().st_size for p in files if p.is_file())
        assert (code, out) == (0, f"{made} · {size:,} bytes\n")
        found = formats.read(made)
        np.testing.assert_array_equal(found.prompt, PROMPT)
        assert found.card is None or found.card.steps == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "out"], "No run and no prompt at nowhere."),
        (["theirs.npy", "out"], "name it with --preset"),
        (["theirs.npy", "out", "--last"], "--last is for a run"),
        (["theirs.npy", "out", "--format", "npy"], "ends in .npy"),
        (["theirs.npy", "tiny"], "exists and holds no prompt"),
        (["theirs.npy", "tiny", "--format", "peft"], "holds no adapter"),
        (["mine", "out", "--preset", "tiny"], "without a card"),
        (
            ["theirs.npy", "out.npy", "--task", "glue/sst2"],
            "--task is for the card of a prompt's folder; --format npy has",
        ),
        (
            ["theirs.npy", "out", "--preset", "nosuch", "--format", "peft"],
            "--preset is for the card",
        ),
        (
            ["theirs.npy", "out", "--preset", "./tiny", "--task", "glue/sst"],
            "Did you mean 'glue/sst2'",
        ),
        (
            ["narrow.npy", "out", "--preset", "./tiny"],
            "narrow.npy has d_model 8; ./tiny has d_model 16",
        ),
    ],
)
@pytest.mark.usefixtures("foreign", "preset", "exported")
def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(
    capsys, tmp_path, monkeypatch, arguments, message
):
    np.save(tmp_path / "narrow.npy", PROMPT[:, :8])
    monkeypatch.chdir(tmp_path)
    before = {p.name for p in tmp_path.iterdir()}
    code, out, err = run(capsys, "export", *arguments)
    assert (code, out) == (1, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert {p.name for p in tmp_path.iterdir()} == before


def test_every_format_that_is_written_can_be_named():
    assert tuple(formats.WRITERS) == export.FORMATS


def test_predict_says_how_another_tools_prompt_gets_a_card(capsys, foreign):
    code, _, err = run(capsys, "predict", "--prompt", foreign, "a film")
    assert code == 1
    assert "`keras-prompt export` makes one" in err


def test_inspect_shows_figures_and_words_of_another_tools_prompt(
    capsys, foreign, preset
):
    code, out, err = run(capsys, "inspect", foreign, "--json")
    facts = json.loads(out)
    assert code == 0
    assert "does not say which base" in err
    assert (facts["format"], facts["prompt_length"]) == ("npy", 3)
    assert facts["largest"] == 47
    assert facts["rms"] == pytest.approx(np.sqrt(np.mean(PROMPT**2)))
    # The middle one of three rows is the second, 16 to 31.
    norm = sum(n * n for n in range(16, 32)) ** 0.5
    assert facts["median_row_norm"] == pytest.approx(norm)
    code, out, err = run(capsys, "inspect", foreign, "--preset", preset)
    assert (code, err) == (0, "")
    assert "nearest vocabulary" in out


@pytest.mark.parametrize(
    ("name", "rms", "largest", "median_row_norm"),
    [
        ("sst2", "51.8", "748", "1352"),
        ("mrpc", "32.3", "225", "844"),
        ("rte", "34.5", "330", "874"),
    ],
)
def test_inspect_shows_the_released_prompts_published_figures(
    capsys, shared_data, name, rms, largest, median_row_norm
):
    path = shared_data / RELEASED / f"{name}.npy"
    code, out, _ = run(capsys, "inspect", str(path), "--rows", "0", "--json")
    facts = json.loads(out)
    assert code == 0
    assert (facts["prompt_length"], facts["d_model"]) == (100, 768)
    assert f"{facts['rms']:.1f}" == rms
    assert f"{facts['largest']:.0f}" == largest
    assert f"{facts['median_row_norm']:.0f}" == median_row_norm
