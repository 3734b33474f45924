"""Each verb on a model of two layers: what it prints and what it leaves."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from command_line import run

from keras_prompt import tasks
from keras_prompt.export.prompt import export_prompt
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.prompt_files import read_prompt

pytestmark = pytest.mark.usefixtures("keep_stderr")

ROWS = [
    {"inputs": "the film is a delight", "targets": "positive"},
    {"inputs": "a dull and tedious film", "targets": "negative"},
    {"inputs": "the cast is wonderful", "targets": "positive"},
]


@pytest.fixture
def task(registered):
    return tasks.register(
        tasks.Task(
            "films",
            tasks.RowsSource({"train": ROWS, "validation": ROWS}),
            labels=("positive", "negative"),
        )
    )


@pytest.fixture
def tune(task, preset, tmp_path):
    """Arguments of a run of two steps on `task`."""
    return [
        *("tune", task.name, "--preset", preset),
        *("--output", str(tmp_path / "run"), "--steps", "2"),
        *("--evaluate-every", "1", "--prompt-length", "2"),
        *("--batch-size", "2", "--target-length", "16"),
    ]


def test_a_tuned_prompt_can_be_evaluated_exported_and_inspected(
    capsys, tune, preset, tmp_path
):
    code, out, _ = run(capsys, *tune, "--json")
    result = json.loads(out)
    assert code == 0
    assert result["steps"] == 2
    assert result["majority"] == {"accuracy": pytest.approx(200 / 3)}

    code, _, err = run(capsys, "evaluate", "--prompt", result["folder"])
    assert code == 1
    assert "tuned on a model named 'tiny'" in err
    assert "Give --preset" in err
    assert len(err.splitlines()) == 1

    model = ("--prompt", result["folder"], "--preset", preset)
    code, out, _ = run(
        capsys, "evaluate", *model, "--answer-by", "rank", "--json"
    )
    found = json.loads(out)
    assert code == 0
    assert (found["task"], found["split"], found["rows"]) == (
        "films",
        "validation",
        3,
    )
    assert found["illegal_share"] == 0

    in_vain = (*model, "--answer-by", "rank", "--target-length", "5")
    code, _, err = run(capsys, "evaluate", *in_vain)
    assert code == 1
    assert "--target-length goes with --answer-by generate only" in err

    exported = str(tmp_path / "exported")
    code, out, _ = run(capsys, "export", str(tmp_path / "run"), exported)
    assert code == 0
    code, out, _ = run(capsys, "inspect", exported, "--preset", preset)
    assert code == 0
    assert "label_words      positive, negative" in out
    array = str(tmp_path / "exported.npy")
    code, out, _ = run(capsys, "export", str(tmp_path / "run"), array)
    assert (code, out) == (0, f"{array} · 256 bytes\n")

    # The same command again has nothing left to do and says the same, but
    # for a SavedModel's own ids, which take a byte more or less.
    again = json.loads(run(capsys, *tune, "--json")[1])
    assert again | {"folder_bytes": 0} == result | {"folder_bytes": 0}


@pytest.mark.parametrize(
    "extra", [("--decay-steps", "2"), ("--dropout-rate", "0.1")]
)
def test_a_run_is_exported_whatever_its_settings(capsys, tune, tmp_path, extra):
    result = json.loads(run(capsys, *tune, *extra, "--json")[1])
    exported = tmp_path / "exported"
    code, _, err = run(capsys, "export", str(tmp_path / "run"), str(exported))
    assert (code, err) == (0, "")
    np.testing.assert_array_equal(
        read_prompt(exported).prompt, read_prompt(result["folder"]).prompt
    )


def test_another_model_s_words_are_not_shown(
    capsys, tune, preset, tmp_path, write_preset, tiny_model, monkeypatch
):
    folder = json.loads(run(capsys, *tune, "--json")[1])["folder"]
    other = MeshT5Backbone(tiny_model.backbone.config, seed=9)
    path = write_preset(
        PromptTunedT5(other, tiny_model.tokenizer, 2), tmp_path / "other"
    )
    code, out, err = run(capsys, "inspect", folder, "--preset", path)
    assert (code, out) == (1, "")
    assert "was tuned on tiny" in err
    assert "is another model" in err
    # Its own name may by now be that of other weights.
    shutil.rmtree(preset)
    shutil.copytree(path, preset)
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "inspect", folder)
    assert code == 0
    assert "prompt_length" in out
    assert "cosine" not in out
    assert "'tiny' has other weights here than the prompt's base" in err


def test_an_ensemble_prints_each_prompt_average_best_and_votes(
    capsys, tune, preset, tmp_path
):
    prompts = []
    for seed in ("0", "1", "2"):
        output = str(tmp_path / f"run{seed}")
        extra = ("--output", output, "--seed", seed, "--json")
        result = json.loads(run(capsys, *tune, *extra)[1])
        prompts.append(result["folder"])
    ensemble = ("evaluate", "--ensemble", *prompts, "--preset", preset)
    code, out, _ = run(capsys, *ensemble, "--answer-by", "rank", "--json")
    assert code == 0
    found = json.loads(out)
    scores = [found["prompts"][prompt]["score"] for prompt in prompts]
    assert found["average"] == pytest.approx(sum(scores) / 3)
    assert found["best"] == max(scores)
    assert found["rows"] == 3
    alone = ("--prompt", prompts[1], "--preset", preset, "--answer-by", "rank")
    one = json.loads(run(capsys, "evaluate", *alone, "--json")[1])
    assert found["prompts"][prompts[1]]["score"] == one["score"]

    code, out, _ = run(capsys, *ensemble, "--answer-by", "rank")
    words = [line.rsplit("  ", 1)[0].strip() for line in out.splitlines()]
    assert words[1:] == [
        *prompts,
        "average",
        "best",
        "majority vote",
        "summed log-likelihood",
    ]
    assert found["vote"]["score"] == pytest.approx(
        float(out.splitlines()[-2].split()[-1]), abs=0.05
    )
    for again in (prompts[0], f"{prompts[0]}/"):
        code, out, err = run(capsys, *ensemble[:3], again, *ensemble[2:])
        assert (code, out) == (1, "")
        assert "must name different prompts" in err


def test_a_limit_takes_rows_from_the_front(capsys, tune, preset):
    prompt = json.loads(run(capsys, *tune, "--json")[1])["folder"]
    arguments = ("--prompt", prompt, "--preset", preset, "--limit", "1")
    found = json.loads(run(capsys, "evaluate", *arguments, "--json")[1])
    assert found["rows"] == 1
    assert found["majority"] == {"accuracy": 100}


def test_another_setting_in_the_same_folder_is_refused(capsys, tune):
    run(capsys, *tune)
    code, _, err = run(capsys, *tune, "--learning-rate", "0.1")
    assert code == 1
    assert "holds a run with learning_rate=0.3" in err
    assert len(err.splitlines()) == 1


def test_predict_reads_lines_and_refuses_none(
    capsys, tune, preset, monkeypatch
):
    import io

    prompt = json.loads(run(capsys, *tune, "--json")[1])["folder"]
    model = ("predict", "--prompt", prompt, "--preset", preset)
    monkeypatch.setattr("sys.stdin", io.StringIO("one film\ntwo films\n"))
    code, out, _ = run(capsys, *model, "--answer-by", "rank", "--json")
    inputs = [json.loads(line)["input"] for line in out.splitlines()]
    assert (code, inputs) == (0, ["one film", "two films"])
    own = ("predict", "--preset", preset, "--answer-by", "rank", "a film")
    code, out, _ = run(capsys, *own, "--label", "dog", "--json")
    assert (code, json.loads(out)["output"]) == (0, "dog")
    code, _, err = run(capsys, *own)
    assert code == 1
    assert "give --label, or use --answer-by generate" in err
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    code, _, err = run(capsys, *model)
    assert code == 1
    assert "There is nothing to answer" in err


def test_predict_takes_the_sentinel_off(capsys, tiny_model, preset, tmp_path):
    words = ["<extra_id_0> positive", "<extra_id_0> negative"]
    export_prompt(
        tiny_model, tmp_path / "p", task="films+sentinel", label_words=words
    )
    model = ("predict", "--prompt", tmp_path / "p", "--preset", preset)
    code, out, _ = run(capsys, *model, "--answer-by", "rank", "a film")
    assert (code, out in ("positive\n", "negative\n")) == (0, True)


def test_tasks_show_prints_facts_and_texts(capsys, task):
    code, out, _ = run(capsys, "tasks", "show", "films", "--rows", "1")
    assert code == 0
    assert "labels     positive, negative\n" in out
    assert "splits     train, validation\n" in out
    assert out.endswith("\nthe film is a delight\n-> positive\n")
    facts = json.loads(run(capsys, "tasks", "show", "squad", "--json")[1])
    assert facts["rows"] == {"train": 87599, "validation": 10570}
    assert facts["is_closed"] is False


def test_tasks_lists_with_and_without_the_word(capsys):
    expected = run(capsys, "tasks", "--json")[1]
    assert run(capsys, "tasks", "list", "--json")[1] == expected
    assert run(capsys, "tasks", "--json", "list")[1] == expected
    names = run(capsys, "tasks")[1].split()
    assert names == json.loads(expected)


def test_models_inspect_shows_a_folder_and_a_preset(capsys, preset, tiny_model):
    facts = json.loads(run(capsys, "models", "inspect", preset, "--json")[1])
    assert facts["d_model"] == 16
    assert facts["fingerprint"] == tiny_model.backbone.fingerprint()
    out = run(capsys, "models", "inspect", "t5_1_1_xl_lm100k")[1]
    assert "gs://t5-data/pretrained_models/t5.1.1.lm100k.xl" in out
    assert "2,849,757,184" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["tune", "squad", "--preset", "t5_1_1_nano", "--output", "o"],
            "Did you mean 't5_1_1_nano_lm'?",
        ),
        (
            ["tasks", "show", "super_glue/bolq"],
            "Did you mean 'super_glue/boolq'?",
        ),
        (
            ["evaluate", "--prompt", "p", "--task", "sqad"],
            "Did you mean 'squad'?",
        ),
        (["models", "inspect", "t5_1_1_bas"], "Did you mean 't5_1_1_base'?"),
        (
            ["tasks", "prepare", "squad", "--from", ".", "--file", "train"],
            "train=train.part.jsonl. Received: train",
        ),
        (
            ["tasks", "prepare", "squad", "--from", "nowhere"],
            "nowhere",
        ),
        (["inspect", "nowhere"], "No prompt at nowhere."),
    ],
)
def test_a_wrong_name_is_one_line_and_leaves_nothing(
    capsys, monkeypatch, tmp_path, arguments, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("keras-prompt: error: ")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_misspelt_initial_prompt_is_named_before_a_folder_is_made(
    capsys, tune, tmp_path
):
    code, _, err = run(capsys, *tune, "--initial-prompt", "class_lables")
    assert code == 1
    assert "Did you mean 'class_labels'?" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("models.prompt_tuned_t5.PromptTunedT5.from_preset", "interrupted"),
        ("training.evaluator.TaskEvaluator.on_epoch_end", "interrupted"),
        (
            "training.history.ProgressBar.on_train_batch_end",
            "stopped and saved; the same command goes on from here",
        ),
    ],
)
def test_an_interrupt_is_one_line_and_exit_code_130(
    capsys, tune, tmp_path, monkeypatch, place, line
):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"keras_prompt.{place}", interrupt)
    code, out, err = run(capsys, *tune, "--evaluate-every", "2")
    assert (code, out, err) == (130, "", f"keras-prompt: {line}\n")
    is_saved = (tmp_path / "run" / "checkpoint.safetensors").is_file()
    assert is_saved == line.startswith("stopped and saved")


def test_a_reader_that_has_enough_is_no_error(tmp_path):
    command = (
        f"{sys.executable} -m keras_prompt.cli.main tasks | head -c 1; "
        "exit ${PIPESTATUS[0]}"
    )
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_corpus_that_fills_no_validation_batch_is_refused(
    capsys, preset, tmp_path
):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join(["the film is a delight"] * 20))
    code, _, err = run(
        capsys,
        *("adapt", str(corpus), "--base", preset, "--dtype", "float32"),
        *("--output", str(tmp_path / "run"), "--batch-size", "2"),
        *("--input-length", "16"),
    )
    assert code == 1
    assert "`texts` are too few" in err
    assert len(err.splitlines()) == 1


@pytest.fixture
def heard_interrupts():
    """A shell's job in the background ignores them, and so its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("heard_interrupts")
def test_a_real_interrupt_of_a_process_is_one_line(preset, tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join(["the film is a delight " * 20] * 400))
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "keras_prompt.cli.main", "adapt"),
            *(str(corpus), "--base", preset, "--dtype", "float32"),
            *("--output", str(tmp_path / "run"), "--steps", "100000"),
            *("--evaluate-every", "2", "--batch-size", "2"),
            *("--input-length", "16"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("TF_")},
    )
    history = tmp_path / "run" / "history.csv"
    deadline = time.monotonic() + 120
    while not history.is_file() and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == (
        "keras-prompt: stopped; the same command goes on from the last "
        "validation, if any"
    )
    assert "Traceback" not in err
