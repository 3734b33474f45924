"""The grid of the paper's figures: what it runs, skips and reports."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import paper
import paper_report
import pytest
from paper_grid import Cell, read_grid
from paper_place import Place

from keras_prompt import tasks
from keras_prompt.models.checkpoints import hugging_face
from keras_prompt.tasks.sources import RowsSource
from keras_prompt.tasks.task import Task

GRID = """
seeds = [0, 1]

[settings]
size = "tiny"
adaptation = 100
method = "prompt"
prompt_length = 2
initial_prompt = "class_labels"
sentinel = false

[tune]
steps = 2
evaluate_every = 1
batch_size = 4
input_length = 16
target_length = 12
answer_by = "rank"

[models.tiny]
100 = "tiny"

[tasks.films]
tune = { input_length = 12 }

[figures.method]
title = "Prompt or nothing"
x = { size = ["tiny"] }
lines."prompt tuning" = {}
lines."zero-shot" = { method = "zero-shot" }
"""
RANDOM = """
[figures.random]
tasks = ["films"]
title = "Never trained"
x = { prompt_length = [2] }
lines."random weights" = { adaptation = "random" }
"""
pytestmark = pytest.mark.usefixtures("keep_stderr")


@pytest.fixture
def arguments(tmp_path, tiny_model, write_preset, registered):
    """Of two cells and one more seed, on a model of two layers."""
    rows = [
        {
            "inputs": f"the film is {'wonderful' if i % 3 else 'dull'} {i}",
            "targets": "positive" if i % 3 else "negative",
        }
        for i in range(12)
    ]
    source = RowsSource({"train": rows, "validation": rows[:6]})
    tasks.register(Task("films", source, labels=("negative", "positive")))
    write_preset(tiny_model, tmp_path / "models" / "tiny")
    (tmp_path / "grid.toml").write_text(GRID)
    return [
        *("--grid", str(tmp_path / "grid.toml")),
        *("--models", str(tmp_path / "models")),
        *("--output", str(tmp_path / "out")),
    ]


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_grid_runs_once_and_reports(arguments, tmp_path, capsys):
    paper.main(arguments)
    assert "3 cells, 3 of them to run" in capsys.readouterr().out
    rows = rows_of(tmp_path / "out" / "results.csv")
    # Zero-shot has no chance in it, so no second seed.
    assert [(row["method"], row["seed"]) for row in rows] == [
        ("prompt", "0"),
        ("zero-shot", "0"),
        ("prompt", "1"),
    ]
    assert {row["majority"][:7] for row in rows} == {"66.6666"}
    scores = [float(row["score"]) for row in rows if row["method"] == "prompt"]
    tables = (tmp_path / "out" / "tables.md").read_text()
    mean = sum(scores) / 2
    assert f"| tiny | {mean:.1f} ± " in tables
    assert "films, majority class 66.7:" in tables

    results = {
        path: path.stat().st_mtime_ns
        for path in (tmp_path / "out").rglob("result.json")
    }
    assert len(results) == 3
    paper.main(arguments)
    assert "3 cells, 0 of them to run" in capsys.readouterr().out
    assert results == {path: path.stat().st_mtime_ns for path in results}


def test_each_prompt_s_cell_is_a_run_of_tune(arguments, tmp_path):
    paper.main([*arguments, "method"])
    folder = tmp_path / "out/films/tiny-100/prompt-2-class_labels/1"
    config = json.loads((folder / "config.json").read_text())
    assert (config["seed"], config["input_length"]) == (1, 12)
    assert (folder / "prompt" / "prompt.json").is_file()


def test_a_model_of_random_weights_is_made_for_its_line(arguments, tmp_path):
    (tmp_path / "grid.toml").write_text(
        GRID + RANDOM + "[methods.prompt]\nlearning_rate = 0.125\n"
    )
    paper.main([*arguments, "random"])
    rows = rows_of(tmp_path / "out" / "results.csv")
    assert [row["adaptation"] for row in rows] == ["random", "random"]
    folder = tmp_path / "out" / "films" / "tiny-random"
    config = json.loads(next(folder.rglob("config.json")).read_text())
    assert config["learning_rate"] == 0.125
    made = hugging_face.read(Path(config["preset"]))
    trained = hugging_face.read(tmp_path / "models" / "tiny")
    assert made.config == trained.config
    name = "encoder/block_000/layer_000/SelfAttention/k"
    assert not np.array_equal(made.weights(name), trained.weights(name))


def test_a_figure_is_run_for_its_own_tasks_alone(arguments, tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(
        GRID.replace("[tasks.films]", "[tasks.others]\n[tasks.films]") + RANDOM
    )
    grid = read_grid(path)
    tasks_of = {
        name: {cell.task for cell in grid.all_cells([name], list(grid.tasks))}
        for name in grid.figures
    }
    assert tasks_of == {"method": {"others", "films"}, "random": {"films"}}
    path.write_text(GRID + RANDOM.replace('["films"]', '["filmz"]'))
    with pytest.raises(ValueError, match="it has no 'filmz'"):
        read_grid(path)


def test_an_interrupt_loses_nothing_that_finished(
    arguments, tmp_path, monkeypatch, capsys
):
    import paper_runs

    run = paper_runs.run

    def stop_at_the_second(grid, cell, place):
        if cell.method == "zero-shot":
            raise KeyboardInterrupt
        run(grid, cell, place)

    with monkeypatch.context() as patch:
        patch.setattr(paper_runs, "run", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            paper.main(arguments)
    assert len(rows_of(tmp_path / "out" / "results.csv")) == 1
    capsys.readouterr()
    paper.main(arguments)
    assert "3 cells, 2 of them to run" in capsys.readouterr().out


def test_a_task_of_free_text_has_no_majority(arguments, tmp_path):
    paper.main(arguments)
    for path in (tmp_path / "out").rglob("result.json"):
        path.write_text(
            json.dumps(json.loads(path.read_text()) | {"majority": {}})
        )
    paper.main([*arguments, "--report"])
    rows = rows_of(tmp_path / "out" / "results.csv")
    assert {row["majority"] for row in rows} == {""}
    assert "\nfilms:\n" in (tmp_path / "out" / "tables.md").read_text()


def test_a_figure_is_drawn_of_what_has_finished(arguments, tmp_path):
    paper.main(arguments)
    image = (tmp_path / "out" / "method.png").read_bytes()
    assert image.startswith(b"\x89PNG")


def test_a_figure_that_cannot_be_drawn_leaves_the_one_before(
    tmp_path, monkeypatch
):
    from matplotlib.figure import Figure

    (tmp_path / "grid.toml").write_text(GRID)
    image = tmp_path / "method.png"
    image.write_bytes(b"before")

    def full_disk(self, file, **options):
        if isinstance(file, Path):
            file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full_disk)
    point = paper_report.Point((50.0,), None)
    monkeypatch.setattr(paper_report, "_point", lambda *_: point)
    place = Place(tmp_path, tmp_path, tmp_path)
    with pytest.raises(OSError, match="No space left"):
        paper_report.write_report(
            read_grid(tmp_path / "grid.toml"), ["method"], ["films"], place
        )
    assert image.read_bytes() == b"before"


def refuse(arguments, message):
    """In one line, and before anything is run or written."""
    out = Path(arguments[-1])
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    for more in ([], ["--report"]):
        with pytest.raises(ValueError, match=message) as caught:
            paper.main([*arguments, *more])
        assert len(str(caught.value).splitlines()) == 1
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert after == before


def test_cells_of_other_settings_are_refused(arguments, tmp_path):
    grid, out = tmp_path / "grid.toml", tmp_path / "out" / "films/tiny-100"
    paper.main(arguments)
    prompt = out / "prompt-2-class_labels" / "0"
    grid.write_text(GRID.replace("steps = 2", "steps = 3"))
    refuse(
        arguments,
        f"{prompt} was run with steps 2; it would now be run with 3. Remove "
        f"{prompt}, and 1 more like it, or take another --output",
    )
    grid.write_text(GRID + "[methods.prompt]\nlearning_rate = 0.125\n")
    refuse(arguments, r"with learning_rate 0\.3; .* with 0\.125\. Remove")
    grid.write_text(GRID + "[methods.zero-shot]\nsplit = 'train'\n")
    refuse(arguments, rf"with split 'validation'; .*{out / 'zero-shot' / '0'},")
    grid.write_text(GRID.replace("{ input_length = 12 }", "{}"))
    refuse(arguments, f"{prompt} was run with input_length 12; .* with 16")
    config = out / "zero-shot" / "0" / "config.json"
    kept = config.rename(tmp_path / "kept")
    grid.write_text(GRID)
    refuse(arguments, "zero-shot/0 does not say what it was run with. Remove")
    kept.rename(config)
    # Left out is not the same as unchanged.
    grid.write_text(
        GRID.replace("input_length = 16", "")
        .replace('lines."prompt tuning" = {}\n', "")
        .replace("{ input_length = 12 }", "{}")
    )
    refuse(arguments, "zero-shot/0 was run with input_length 12; .* with None")


def test_cells_from_before_a_setting_had_its_default(arguments, tmp_path):
    paper.main(arguments)
    out = tmp_path / "out" / "films/tiny-100/prompt-2-class_labels" / "0"
    settings = json.loads((out / "config.json").read_text())
    assert settings.pop("decay_steps") == 0
    (out / "config.json").write_text(json.dumps(settings))
    paper.main([*arguments, "--report"])
    tmp_path.joinpath("grid.toml").write_text(
        GRID + "[methods.prompt]\ndecay_steps = 2\n"
    )
    refuse(arguments, "with decay_steps 0; it would now be run with 2")


def test_cells_of_other_weights_are_refused(
    arguments, tmp_path, tiny_model, write_preset
):
    (tmp_path / "grid.toml").write_text(
        GRID + 'lines."model" = { method = "model" }\n'
    )
    paper.main(arguments)
    models = tmp_path / "models"
    models.rename(tmp_path / "moved")
    paper.main([*arguments, "--report"])  # there is nothing to compare with
    moved = [*arguments[:3], str(tmp_path / "moved"), *arguments[4:]]
    paper.main(moved)  # where it lies is not what it is
    weight = tiny_model.backbone.weight("shared/embedding")
    weight.assign(weight * 2)
    write_preset(tiny_model, models / "tiny")
    refuse(arguments, "with the model's fingerprint .*, and 4 more like it")


def test_a_random_model_of_other_sizes_is_refused(arguments, tmp_path):
    (tmp_path / "grid.toml").write_text(GRID + RANDOM)
    arguments = [*arguments[:4], "random", *arguments[4:]]
    paper.main(arguments)
    config = tmp_path / "models" / "tiny" / "config.json"
    checkpoint = hugging_face.read(config.parent)
    hugging_face.write(
        config.parent,
        dataclasses.replace(checkpoint.config, num_encoder_layers=1),
        checkpoint.weights,
        checkpoint.vocabulary,
    )
    refuse(arguments, "with the model's fingerprint .*, and 1 more like it")
    shutil.rmtree(tmp_path / "out" / "films")
    random = tmp_path / "out" / "models" / "tiny-random"
    with pytest.raises(ValueError, match=rf"other sizes.*Remove {random}"):
        paper.main(arguments)


def test_a_cell_that_was_begun_otherwise_is_refused_first(arguments, tmp_path):
    begun = tmp_path / "out/films/tiny-100/prompt-2-class_labels/1"
    begun.mkdir(parents=True)
    (begun / "config.json").write_text("{}")
    refuse(arguments, f"{begun} holds a run with")


def test_a_report_alone_runs_nothing(arguments, tmp_path, capsys):
    paper.main([*arguments, "--report"])
    assert rows_of(tmp_path / "out" / "results.csv") == []
    assert not list((tmp_path / "out").rglob("config.json"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[models.tiny]\n100", "[models.tiny]\n50", "it has no '100'"),
        ('method = "zero-shot"', 'method = "none"', "`method` must be one of"),
        ('initial_prompt = "class_labels"\n', "", "initial_prompt"),
        ("seeds = [0, 1]", "seeds = [", "is no grid"),
        ("[models.", "[methods.promt]\n[models.", "Did you mean 'prompt'"),
        ("batch_size = 4", "batch_sise = 4", "Did you mean 'batch_size'"),
    ],
)
def test_a_grid_that_cannot_be_run_is_refused(
    arguments, tmp_path, old, new, message
):
    assert old in GRID
    (tmp_path / "grid.toml").write_text(GRID.replace(old, new))
    with pytest.raises(ValueError, match=message):
        paper.main(arguments)


def test_unknown_names_and_absent_models_are_refused_before_any_run(
    arguments, tmp_path
):
    with pytest.raises(ValueError, match="Did you mean 'method'"):
        paper.main([*arguments, "methods"])
    with pytest.raises(ValueError, match="Did you mean 'films'"):
        paper.main([*arguments, "--task", "film"])
    grid = GRID.replace('100 = "tiny"', '100 = "absent/folder"')
    (tmp_path / "grid.toml").write_text(grid)
    with pytest.raises(FileNotFoundError, match=r"absent/folder\..*: --models"):
        paper.main(arguments)
    assert not (tmp_path / "out").exists()


def test_the_committed_grid_has_the_paper_s_figures():
    grid = read_grid(Path(paper.__file__).with_name("grid.toml"))
    assert list(grid.figures) == [
        "method",
        "length",
        "initial_prompt",
        "objective",
        "adaptation",
    ]
    assert grid.figures["length"].values == [1, 5, 20, 100, 150]
    assert grid.figures["adaptation"].values == [0, 10, 50, 100]
    assert grid.seeds == [0, 1, 2]
    known = {*tasks.names(), "plot_or_review"}
    assert set(grid.tasks) <= known
    # Figures share cells: the paper's default setting is in all five.
    default = Cell(
        "glue/sst2", "nano", 100, "prompt", 20, "class_labels", False, 0
    )
    shared = [
        name
        for name in grid.figures
        if default in grid.all_cells([name], ["glue/sst2"])
    ]
    assert shared == list(grid.figures)
