"""Checkpoints, evaluation and the recipe, on a model of random weights."""

import contextlib
import csv
import dataclasses
import json
import resource

import keras
import numpy as np
import pytest

from keras_prompt import tasks
from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models.text_t5 import TextT5
from keras_prompt.optimizers import Adafactor
from keras_prompt.prompt_files import read_prompt
from keras_prompt.tasks.pipeline import make_dataset
from keras_prompt.tasks.sources import RowsSource
from keras_prompt.tasks.task import Task
from keras_prompt.training.checkpoint import PromptCheckpoint
from keras_prompt.training.config import TuneConfig
from keras_prompt.training.evaluation import evaluate_examples
from keras_prompt.training.evaluator import TaskEvaluator
from keras_prompt.training.history_file import read_rows
from keras_prompt.training.recipe import compile_model
from keras_prompt.training.tune import tune
from keras_prompt.training.tune_result import BankResult, write_result


def rows(count):
    return [
        {
            "inputs": f"the film is {'wonderful' if i % 3 else 'dull'} {i}",
            "targets": "positive" if i % 3 else "negative",
        }
        for i in range(count)
    ]


@pytest.fixture
def toy_task():
    return Task(
        "toy",
        RowsSource({"train": rows(20), "validation": rows(6)}),
        labels=("negative", "positive"),
    )


@pytest.fixture
def config(preset, toy_task, tmp_path, monkeypatch):
    monkeypatch.setitem(tasks._registered, "toy", toy_task)
    return TuneConfig(
        task="toy",
        preset=preset,
        output=str(tmp_path / "run"),
        prompt_length=3,
        steps=6,
        evaluate_every=3,
        checkpoint_every=1,
        batch_size=4,
        input_length=16,
        target_length=12,
        answer_by="rank",
    )


def interrupt(self, *_):
    raise KeyboardInterrupt


def fail(self, *_, **options):
    raise RuntimeError("the first step")


def compiled(model):
    model.compile(optimizer=Adafactor(0.3), loss=TokenCrossentropy())
    return model


def test_the_evaluator_reports_and_keeps_the_best(tiny_model, toy_task, capsys):
    train = make_dataset(
        toy_task, "train", tiny_model.tokenizer, target_length=12, batch_size=8
    )
    evaluator = TaskEvaluator(toy_task, answer_by="rank")
    history = (
        compiled(tiny_model)
        .fit(train, epochs=2, callbacks=[evaluator], verbose=0)
        .history
    )
    assert history["val_score"] == history["val_accuracy"]
    assert history["val_illegal_share"] == [0.0, 0.0]
    assert tiny_model.best.score == max(history["val_score"])
    assert history["prompt_rms"][-1] == pytest.approx(
        float(np.sqrt(np.mean(np.square(tiny_model.prompt.embeddings)))), 1e-5
    )
    printed = capsys.readouterr().out
    assert "step 6" in printed
    # Four of the six rows are positive.
    assert "majority 66.7" in printed


def test_outputs_that_are_no_label_are_counted(tiny_model, toy_task):
    examples = toy_task.examples("validation")
    found = evaluate_examples(tiny_model, toy_task, examples, target_length=3)
    share = np.mean([o not in toy_task.labels for o in found.outputs])
    assert found.illegal_share == share == 1.0
    assert found.metrics["accuracy"] == 0.0


@pytest.mark.parametrize("answer_by", ["generate", "rank"])
def test_outputs_are_in_the_order_of_the_rows(
    tiny_model, toy_task, answer_by, monkeypatch
):
    """Though rows of similar length are evaluated together."""
    examples = [
        row | {"inputs": f"{'a film ' * (40 - 7 * i)}{row['inputs']}"}
        for i, row in enumerate(toy_task.examples("validation"))
    ]
    texts = [row["inputs"] for row in examples]
    if answer_by == "generate":
        expected = tiny_model.generate(texts, 32, batch_size=6)
    else:  # A model this small would give every text the same label.
        expected = [toy_task.labels["dull" in text] for text in texts]
        monkeypatch.setattr(
            tiny_model,
            "rank",
            lambda texts, *_: np.array([[0.5, "dull" in t] for t in texts]),
        )
    found = evaluate_examples(
        tiny_model, toy_task, examples, answer_by=answer_by, batch_size=2
    ).outputs
    assert found == expected
    assert len(set(found)) > 1


def test_rank_needs_a_closed_task(tiny_model):
    task = Task("free", RowsSource({"v": rows(2)}), closed=False)
    with pytest.raises(ValueError, match="free-text outputs"):
        evaluate_examples(
            tiny_model, task, task.examples("v"), answer_by="rank"
        )
    with pytest.raises(ValueError, match="`answer_by` must be one of"):
        evaluate_examples(tiny_model, task, task.examples("v"), answer_by="x")


def test_every_epoch_has_an_order_of_its_own(tiny_model, toy_task):
    train = make_dataset(
        toy_task, "train", tiny_model.tokenizer, target_length=12, batch_size=5
    )
    starts = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: starts.append(int(train.position.batch))
    )
    compiled(tiny_model).fit(train, epochs=3, callbacks=[watch], verbose=0)
    assert starts == [0, 4, 8]


def test_tune_writes_a_run_and_resumes_it(config, tmp_path):
    first = tune(dataclasses.replace(config, steps=3), verbose=False)
    assert first.steps == 3
    result = tune(config, verbose=False)
    whole = tune(
        dataclasses.replace(config, output=str(tmp_path / "whole")),
        verbose=False,
    )
    assert result.steps == whole.steps == 6
    assert result.score == whole.score
    np.testing.assert_array_equal(
        read_prompt(result.folder).prompt, read_prompt(whole.folder).prompt
    )
    folder = tmp_path / "run"
    with (folder / "history.csv").open(newline="") as file:
        assert [r["step"] for r in csv.DictReader(file)] == ["3", "6"]
    assert json.loads((folder / "result.json").read_text())["steps"] == 6
    card = read_prompt(result.folder).card
    assert (card.task, card.score) == ("toy", result.score)
    assert card.label_words == ("negative", "positive")


def test_the_rate_falls_to_zero_over_the_last_steps(config, tiny_model):
    compile_model(dataclasses.replace(config, decay_steps=4), tiny_model)
    optimizer = tiny_model.optimizer
    rates = []
    for step in range(7):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    np.testing.assert_allclose(rates, [0.3, 0.3, 0.3, 0.225, 0.15, 0.075, 0])


def test_a_stopped_run_goes_on_to_its_end_and_no_further(
    config, tmp_path, monkeypatch
):
    config = dataclasses.replace(config, decay_steps=4)
    with monkeypatch.context() as patch:
        patch.setattr(TaskEvaluator, "on_epoch_end", interrupt)
        with pytest.raises(KeyboardInterrupt):
            tune(config, verbose=False)
    result = tune(config, verbose=False)
    whole = dataclasses.replace(config, output=str(tmp_path / "whole"))
    np.testing.assert_array_equal(
        read_prompt(result.folder).prompt,
        read_prompt(tune(whole, verbose=False).folder).prompt,
    )
    for change, message in (
        ({"steps": 9}, "steps=6; this one has steps=9"),
        ({"decay_steps": 0}, "decay_steps=4; this one has decay_steps=0"),
    ):
        with pytest.raises(ValueError, match=message):
            tune(dataclasses.replace(config, **change), verbose=False)
    with pytest.raises(ValueError, match="at most steps=6"):
        dataclasses.replace(config, decay_steps=7)


def test_fewer_steps_than_are_done_are_refused(config, tmp_path):
    tune(config, verbose=False)
    before = (tmp_path / "run/config.json").read_text()
    with pytest.raises(ValueError, match=r"less than the 6 that .* has done"):
        tune(dataclasses.replace(config, steps=3), verbose=False)
    assert (tmp_path / "run/config.json").read_text() == before


def test_a_history_that_is_none_is_named(config, tmp_path):
    tune(dataclasses.replace(config, steps=3), verbose=False)
    path = tmp_path / "run/history.csv"
    path.write_text(path.read_text().replace(",", ";"))
    with pytest.raises(
        ValueError, match=r"history\.csv is no history of a run"
    ):
        tune(config, verbose=False)


def test_a_run_from_before_a_setting_goes_on(config, tmp_path):
    tune(dataclasses.replace(config, steps=3), verbose=False)
    path = tmp_path / "run/config.json"
    settings = json.loads(path.read_text())
    del settings["decay_steps"]
    path.write_text(json.dumps(settings))
    assert tune(config, verbose=False).steps == 6


def test_a_run_that_saved_nothing_takes_corrected_settings(
    config, tmp_path, monkeypatch
):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(TextT5, "fit", fail)
        with pytest.raises(RuntimeError, match="the first step"):
            tune(config, verbose=False)
    assert TuneConfig.of_run(folder) == config
    (folder / "history.csv").write_text("step,loss\n1,0.5\n")
    corrected = dataclasses.replace(config, learning_rate=0.1)
    tune(corrected, verbose=False)
    assert TuneConfig.of_run(folder) == corrected
    steps = [row["step"] for row in read_rows(folder / "history.csv")]
    assert steps == ["3", "6"]
    for saved in ("checkpoint.safetensors", "result.json"):
        with pytest.raises(ValueError, match=r"learning_rate=0\.1; this one"):
            tune(config, verbose=False)
        (folder / saved).unlink()
    assert config.claim_output() == folder


def test_a_model_is_not_taken_for_a_run_that_saved_nothing(config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.json").write_text('{"d_model": 16}')
    with pytest.raises(ValueError, match="Choose another output folder"):
        tune(config, verbose=False)
    assert (tmp_path / "run/config.json").read_text() == '{"d_model": 16}'


def test_numbers_that_json_lacks_are_null_in_a_result(tmp_path):
    result = BankResult(float("nan"), 6, "prompts", {})
    write_result(tmp_path, result)
    assert '"score": null' in (tmp_path / "result.json").read_text()


def test_more_than_can_be_written_is_no_target_length(toy_task):
    with pytest.raises(
        ValueError, match="`target_length` must be at most 2,147,483,646"
    ):
        TaskEvaluator(toy_task, target_length=2**31 - 1)


def test_another_config_in_the_same_folder_is_refused(config):
    tune(config, verbose=False)
    other = dataclasses.replace(config, learning_rate=0.1)
    with pytest.raises(ValueError, match=r"learning_rate=0\.3.*=0\.1"):
        tune(other, verbose=False)
    # Before the model is read, which is not there.
    absent = dataclasses.replace(config, preset="absent/folder")
    with pytest.raises(ValueError, match="holds a run with preset="):
        tune(absent, verbose=False)


@pytest.mark.parametrize("method", ["prompt", "model"])
@pytest.mark.parametrize("file", ["run", "run/{method}", "run/{method}/notes"])
def test_a_place_that_is_taken_is_refused_before_the_model_is_read(
    config, tmp_path, method, file
):
    taken = tmp_path / file.format(method=method)
    taken.parent.mkdir(parents=True, exist_ok=True)
    taken.write_text("mine")
    config = dataclasses.replace(
        config, method=method, learning_rate=None, preset="absent/folder"
    )
    with pytest.raises(ValueError, match="Choose another"):
        tune(config, verbose=False)
    assert taken.read_text() == "mine"
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize("steps", [0, 3])
def test_an_interrupt_before_fit_has_begun_loses_nothing(
    config, tmp_path, monkeypatch, steps
):
    path = tmp_path / "run" / "checkpoint.safetensors"
    if steps:
        tune(dataclasses.replace(config, steps=steps), verbose=False)
    before = path.read_bytes() if steps else None
    with monkeypatch.context() as patch:
        # The first callback gets its model; the checkpoint is a later one.
        patch.setattr(TaskEvaluator, "set_model", interrupt)
        with pytest.raises(KeyboardInterrupt):
            tune(config, verbose=False)
    assert (path.read_bytes() if path.exists() else None) == before
    assert tune(config, verbose=False).steps == 6


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("task", "toyy", "Did you mean 'toy'"),
        ("preset", "t5_1_1_nano_ml", "Did you mean 't5_1_1_nano_lm'"),
        ("initial_prompt", "class_label", "Did you mean 'class_labels'"),
        ("target_length", 3, "target"),
    ],
)
def test_wrong_settings_are_refused_before_a_folder_is_made(
    config, tmp_path, field, value, message
):
    with pytest.raises(ValueError, match=message):
        tune(dataclasses.replace(config, **{field: value}), verbose=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("prompt_length", True),
        ("batch_size", 2.0),
        ("evaluation_limit", 0),
        ("decay_steps", 1.5),
        ("seed", -1),
    ],
)
def test_what_is_counted_must_be_an_integer_in_range(config, field, value):
    with pytest.raises(ValueError, match=f"`{field}` must be an? .*integer"):
        dataclasses.replace(config, **{field: value})


def test_numpys_integers_are_stored_as_pythons(config):
    given = dataclasses.replace(config, steps=np.int64(6), seed=np.int32(1))
    stored = TuneConfig.of_run(given.claim_output())
    assert (stored.steps, stored.seed) == (6, 1)
    stored.check_output()  # is the same run's


def test_a_truncated_checkpoint_is_refused(config, tmp_path):
    tune(dataclasses.replace(config, steps=3), verbose=False)
    path = tmp_path / "run" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="not a complete checkpoint"):
        tune(config, verbose=False)


def test_checkpoints_of_another_prompt_length_are_refused(tiny_model, tmp_path):
    checkpoint = PromptCheckpoint(tmp_path)
    compiled(tiny_model).optimizer.build(tiny_model.trainable_variables)
    checkpoint.set_model(tiny_model)
    checkpoint.save()
    longer = compiled(
        type(tiny_model)(tiny_model.backbone, tiny_model.tokenizer, 4)
    )
    longer.optimizer.build(longer.trainable_variables)
    with pytest.raises(ValueError, match="another base, prompt length"):
        checkpoint.restore(longer)
    with pytest.raises(ValueError, match="`every_steps` must be"):
        PromptCheckpoint(tmp_path, every_steps=0)


@contextlib.contextmanager
def room_for_files_of(size):
    """The system refuses to write further, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_old_checkpoint_to_resume_from(
    config, toy_task, tmp_path
):
    tune(dataclasses.replace(config, steps=3), verbose=False)
    path = tmp_path / "run" / "checkpoint.safetensors"
    before = path.read_bytes()
    with (
        room_for_files_of(len(before) // 2),
        pytest.raises(OSError, match=r"checkpoint.*cannot be written"),
    ):
        tune(config, verbose=False)
    assert path.read_bytes() == before
    assert not [p for p in path.parent.iterdir() if "partial" in p.name]

    resumed = tune(config, verbose=False)
    whole = dataclasses.replace(config, output=str(tmp_path / "whole"))
    tune(whole, verbose=False)
    assert resumed.steps == 6
    np.testing.assert_array_equal(
        read_prompt(tmp_path / "run" / "prompt").prompt,
        read_prompt(tmp_path / "whole" / "prompt").prompt,
    )
