"""Official files in a folder become a data set of tfds, or nothing."""

import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from keras_prompt import tasks
from keras_prompt.tasks import prepare as prepare_module
from keras_prompt.tasks.prepare import prepare

_RTE = {
    "train.jsonl": [("Ann sings.", "Ann is mute.", "not_entailment")] * 3,
    "val.jsonl": [("Bo ran.", "Bo moved.", "entailment")] * 2,
    "test.jsonl": [("Bo ran.", "Bo sat.", None)],
}


def _write_rte(folder, files=_RTE):
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        with (folder / name).open("w") as file:
            for index, (premise, hypothesis, label) in enumerate(rows):
                row = {"premise": premise, "hypothesis": hypothesis}
                row |= {"idx": index} | ({"label": label} if label else {})
                file.write(json.dumps(row) + "\n")
    return folder


def _everything(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("inside", ["", "RTE"])
def test_the_folder_of_a_task_or_its_parent_is_read(tmp_path, inside):
    _write_rte(tmp_path / "from" / inside)
    summary = prepare("super_glue/rte", tmp_path / "from", tmp_path / "data")
    assert summary.rows == {"train": 3, "validation": 2, "test": 1}
    assert not summary.was_prepared
    assert summary.folder == tmp_path / "data/super_glue/rte/1.0.2"
    task = tasks.get("super_glue/rte", tmp_path / "data")
    (first, second) = task.examples("validation")
    assert first["inputs"] == "hypothesis: Bo moved. premise: Bo ran."
    assert {first["idx"], second["idx"]} == {0, 1}
    (hidden,) = task.examples("test")
    assert hidden["targets"] == "<unk>"


def test_nothing_but_the_data_set_is_left_in_the_data_dir(tmp_path):
    summary = prepare(
        "super_glue/rte", _write_rte(tmp_path / "RTE"), tmp_path / "data"
    )
    found = _everything(tmp_path / "data")
    assert found
    assert {path.parent for path in found} == {summary.folder}


def test_it_prints_nothing_on_standard_output(tmp_path, capsys):
    prepare("super_glue/rte", _write_rte(tmp_path / "RTE"), tmp_path / "data")
    assert capsys.readouterr().out == ""


def test_other_numbers_of_rows_are_told_at_once_and_when_read(tmp_path, caplog):
    summary = prepare(
        "super_glue/rte", _write_rte(tmp_path / "RTE"), tmp_path / "data"
    )
    assert (
        "train: 3 rows, 2,490 published, from train.jsonl"
        in summary.differences
    )
    assert "train 3, validation 2, test 1 rows in" in str(summary)
    with caplog.at_level(logging.WARNING, "keras_prompt"):
        tasks.get("super_glue/rte", tmp_path / "data").examples("train")
    assert (
        "super_glue/rte has 3 rows in 'train' (the published data set has "
        "2490), prepared from train.jsonl." in caplog.text
    )


def test_a_slice_of_a_split_is_tfds_own(tmp_path):
    prepare("super_glue/rte", _write_rte(tmp_path / "RTE"), tmp_path / "data")
    task = tasks.get("super_glue/rte", tmp_path / "data")
    assert task.examples("train[:2]") == task.examples("train")[:2]
    with pytest.raises(ValueError, match="or a slice such as"):
        task.examples("train[:two]")


def test_a_missing_file_is_named(tmp_path):
    folder = _write_rte(tmp_path / "RTE")
    (folder / "train.jsonl").rename(folder / "train.partial.jsonl")
    with pytest.raises(
        FileNotFoundError,
        match=r"super_glue/rte needs train\.jsonl\. Looked in .*; found "
        r"test\.jsonl, train\.partial\.jsonl, val\.jsonl\.",
    ):
        prepare("super_glue/rte", folder, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_another_file_is_used_only_when_named(tmp_path):
    folder = _write_rte(tmp_path / "RTE")
    (folder / "train.jsonl").rename(folder / "train.partial.jsonl")
    summary = prepare(
        "super_glue/rte",
        folder,
        tmp_path / "data",
        files={"train": "train.partial.jsonl"},
    )
    assert summary.files["train"].name == "train.partial.jsonl"
    assert (
        "train: 3 rows, 2,490 published, from train.partial.jsonl"
        in summary.differences
    )


def test_a_split_is_left_out_only_on_request(tmp_path):
    folder = _write_rte(tmp_path / "RTE")
    (folder / "train.jsonl").unlink()
    summary = prepare(
        "super_glue/rte", folder, tmp_path / "data", allow_missing=True
    )
    assert summary.rows == {"validation": 2, "test": 1}
    assert summary.differences[0] == "train: absent (2,490 published)"
    task = tasks.get("super_glue/rte", tmp_path / "data")
    assert len(task.examples("validation")) == 2
    with pytest.raises(
        FileNotFoundError, match="without the split 'train': it holds"
    ):
        task.examples("train")


def test_missing_everything_is_refused_even_so(tmp_path):
    (tmp_path / "RTE").mkdir()
    with pytest.raises(FileNotFoundError, match=r"needs train\.jsonl, val"):
        prepare(
            "super_glue/rte",
            tmp_path / "RTE",
            tmp_path / "data",
            allow_missing=True,
        )


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        prepare("super_glue/rte", tmp_path / "nowhere", tmp_path / "data")


def test_the_same_files_again_change_nothing(tmp_path):
    folder = _write_rte(tmp_path / "RTE")
    first = prepare("super_glue/rte", folder, tmp_path / "data")
    times = [path.stat().st_mtime_ns for path in _everything(first.folder)]
    again = prepare("super_glue/rte", folder, tmp_path / "data")
    assert again.was_prepared
    assert again.rows == first.rows
    after = [path.stat().st_mtime_ns for path in _everything(first.folder)]
    assert after == times


def test_other_files_do_not_replace_a_data_set(tmp_path):
    folder = _write_rte(tmp_path / "RTE")
    prepare("super_glue/rte", folder, tmp_path / "data")
    _write_rte(folder, {"val.jsonl": _RTE["train.jsonl"]})
    with pytest.raises(ValueError, match="holds this data set already, made"):
        prepare("super_glue/rte", folder, tmp_path / "data")


@pytest.mark.parametrize(
    "text",
    [
        '{"premise": "a", "hypothesis": "b", "label": "perhaps", "idx": 0}',
        '{"premise": "a", "idx": 0, "label": "entailment"}',
        "no JSON",
    ],
    ids=["another label", "a missing field", "no JSON"],
)
def test_files_of_another_data_set_are_refused_and_nothing_is_left(
    tmp_path, text
):
    folder = _write_rte(tmp_path / "RTE")
    (folder / "val.jsonl").write_text(text)
    with pytest.raises(ValueError, match=r"tfds cannot read .*val\.jsonl"):
        prepare("super_glue/rte", folder, tmp_path / "data")
    assert _everything(tmp_path / "data") == []


def test_an_empty_file_is_refused(tmp_path):
    folder = _write_rte(tmp_path / "RTE", _RTE | {"val.jsonl": []})
    with pytest.raises(ValueError, match=r"val\.jsonl"):
        prepare("super_glue/rte", folder, tmp_path / "data")
    assert _everything(tmp_path / "data") == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("super_glue/rt", r"Unknown task .* Did you mean 'super_glue/rte'\?"),
        ("films", "Unknown task with official files 'films'"),
    ],
)
def test_a_task_without_official_files_is_refused(
    tmp_path, registered, name, message
):
    tasks.register(tasks.Task("films", tasks.RowsSource({}), closed=False))
    with pytest.raises(ValueError, match=message):
        prepare(name, tmp_path)


def test_a_file_for_a_split_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Unknown split 'dev'"):
        prepare(
            "super_glue/rte", tmp_path, tmp_path, files={"dev": "val.jsonl"}
        )


def _write_mrpc(folder):
    header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    folder.mkdir()
    (folder / "msr_paraphrase_train.txt").write_text(
        "\ufeff" + header + "1\t11\t12\tA .\tB .\n0\t21\t22\tC .\tD .\n"
    )
    (folder / "msr_paraphrase_test.txt").write_text(
        "\ufeff" + header + "1\t31\t32\tE .\tF .\n"
    )
    (folder / "dev_ids.tsv").write_text("21\t22\n")
    return folder


def test_two_files_in_place_of_one_are_refused(tmp_path):
    folder = _write_mrpc(tmp_path / "MRPC")
    text = (folder / "msr_paraphrase_train.txt").read_text()
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text(text)
    files = {"train": "a.txt", "validation": "b.txt"}
    with pytest.raises(
        ValueError,
        match=r"`files` must give the splits 'train' and 'validation' the same "
        r"file: both are made of msr_paraphrase_train\.txt\. Received: "
        r"train=a\.txt, validation=b\.txt\.",
    ):
        prepare("glue/mrpc", folder, tmp_path / "data", files=files)
    assert not (tmp_path / "data").exists()
    files["validation"] = "a.txt"
    found = prepare("glue/mrpc", folder, tmp_path / "data", files=files)
    assert found.files["validation"].name == "a.txt"


def test_another_file_that_splits_share_is_another_data_set(tmp_path):
    folder = _write_mrpc(tmp_path / "MRPC")
    prepare("glue/mrpc", folder, tmp_path / "data")
    assert prepare("glue/mrpc", folder, tmp_path / "data").was_prepared
    (folder / "dev_ids.tsv").write_text("11\t12\n")
    with pytest.raises(
        ValueError,
        match=r"made of msr_paraphrase_train\.txt, msr_paraphrase_test\.txt, "
        r"dev_ids\.tsv\. Remove",
    ):
        prepare("glue/mrpc", folder, tmp_path / "data")


def test_a_card_without_shared_files_is_compared_by_what_it_has(tmp_path):
    folder = _write_mrpc(tmp_path / "MRPC")
    first = prepare("glue/mrpc", folder, tmp_path / "data")
    card = first.folder / "keras_prompt.json"
    values = json.loads(card.read_text())
    del values["mrpc_dev_ids.tsv"]
    card.write_text(json.dumps(values))
    assert prepare("glue/mrpc", folder, tmp_path / "data").was_prepared
    with (folder / "msr_paraphrase_test.txt").open("a") as file:
        file.write("1\t41\t42\tG .\tH .\n")
    with pytest.raises(ValueError, match="holds this data set already"):
        prepare("glue/mrpc", folder, tmp_path / "data")


_KILLED = """
import os, signal, sys
from keras_prompt.tasks import prepare, prepared
def kill(*_): os.kill(os.getpid(), signal.SIGKILL)
# The records are complete here; the folder is not yet in its place.
prepared.write_card = kill
prepare.prepare("super_glue/rte", sys.argv[1], sys.argv[2])
"""


@pytest.mark.slow
def test_a_kill_leaves_nothing_that_is_taken_for_a_data_set(tmp_path):
    folder = _write_rte(tmp_path / "RTE")
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, str(folder), str(tmp_path / "data")],
        cwd=Path(prepare_module.__file__).parents[2],
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert _everything(tmp_path / "data")  # it had written something
    task = tasks.get("super_glue/rte", tmp_path / "data")
    assert not task.source.folder.exists()
    summary = prepare("super_glue/rte", folder, tmp_path / "data")
    assert not summary.was_prepared
    assert len(task.examples("train")) == 3


@pytest.mark.parametrize("is_same", [True, False])
def test_a_process_that_was_faster_made_the_data_set(
    tmp_path, monkeypatch, is_same
):
    folder = _write_rte(tmp_path / "RTE")
    other = _RTE if is_same else _RTE | {"val.jsonl": _RTE["train.jsonl"]}
    theirs = _write_rte(tmp_path / "theirs", other)
    rename = os.rename

    def after_theirs(source, target):
        monkeypatch.setattr(os, "rename", rename)
        prepare("super_glue/rte", theirs, tmp_path / "data")
        rename(source, target)

    monkeypatch.setattr(os, "rename", after_theirs)
    if is_same:
        summary = prepare("super_glue/rte", folder, tmp_path / "data")
        assert summary.was_prepared
        assert summary.rows == {"train": 3, "validation": 2, "test": 1}
    else:
        with pytest.raises(ValueError, match="holds this data set already"):
            prepare("super_glue/rte", folder, tmp_path / "data")
    found = {path.parent for path in _everything(tmp_path / "data")}
    assert found == {tmp_path / "data/super_glue/rte/1.0.2"}


def test_a_failure_at_the_last_moment_leaves_nothing(tmp_path, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full_disk)
    with pytest.raises(OSError, match="No space left"):
        prepare(
            "super_glue/rte", _write_rte(tmp_path / "RTE"), tmp_path / "data"
        )
    assert _everything(tmp_path / "data") == []


def _cut(path):
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize(
    ("pattern", "damage", "reason"),
    [
        ("*-train.tfrecord*", _cut, "truncated record"),
        ("*-train.tfrecord*", Path.unlink, "No such file"),
        ("*-train.tfrecord*", lambda path: path.write_bytes(b""), "expected"),
        ("dataset_info.json", _cut, "Failed to load JSON"),
        ("features.json", _cut, "Unterminated"),
        ("keras_prompt.json", _cut, r"keras_prompt\.json: "),
    ],
)
def test_a_damaged_data_set_is_named_with_what_to_do(
    tmp_path, pattern, damage, reason
):
    folder = _write_rte(tmp_path / "RTE")
    whole = prepare("super_glue/rte", folder, tmp_path / "data").folder
    (path,) = whole.glob(pattern)
    damage(path)
    task = tasks.get("super_glue/rte", tmp_path / "data")
    with pytest.raises(
        ValueError,
        match=rf"^{whole} is damaged \(.*{reason}.*\)\. Remove it and prepare "
        r"it anew\.$",
    ):
        task.examples("train")


def test_a_preprocessor_s_mistake_is_no_damage(tmp_path):
    import tensorflow as tf

    folder = _write_rte(tmp_path / "RTE")
    prepare("super_glue/rte", folder, tmp_path / "data")
    task = dataclasses.replace(
        tasks.get("super_glue/rte", tmp_path / "data"),
        preprocessors=[
            lambda rows: rows.map(
                lambda row: {
                    "inputs": row["premise"],
                    "targets": row["hypothesis"],
                    "n": tf.strings.to_number(row["premise"]),
                }
            )
        ],
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="Ann sings"):
        task.examples("train")


def test_what_is_neither_prepared_nor_to_be_had_is_told_in_one_line(tmp_path):
    task = tasks.get("super_glue/wsc", tmp_path / "data")
    with pytest.raises(FileNotFoundError) as raised:
        task.examples("validation")
    message = str(raised.value)
    assert "\n" not in message
    assert "super_glue/wsc.fixed 1.0.2" in message
    assert str(tmp_path / "data/super_glue/wsc.fixed/1.0.2") in message
    assert message.endswith(
        "keras-prompt tasks prepare super_glue/wsc --from DIR"
    )
    assert not task.source.folder.exists()


@pytest.mark.parametrize("name", sorted(tasks.TASKS))
def test_a_download_lacks_the_network_alone(tmp_path, name):
    task = tasks.get(name, tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"cannot be downloaded \(ConnectionError: "
    ):
        task.examples("validation" if "ax" not in name else "test")


def test_glue_files_of_single_downloads_and_archives_are_read(tmp_path):
    _write_mrpc(tmp_path / "MRPC")
    films = tmp_path / "SST-2"
    films.mkdir()
    (films / "train.tsv").write_text('sentence\tlabel\na "fine" film \t1\n')
    (films / "dev.tsv").write_text("sentence\tlabel\na bad film \t0\n")
    (films / "test.tsv").write_text("index\tsentence\n0\ta film\n")

    found = prepare("glue/mrpc", tmp_path, tmp_path / "data")
    assert found.rows == {"train": 1, "validation": 1, "test": 1}
    found = prepare("glue/sst2", tmp_path, tmp_path / "data")
    assert found.rows == {"train": 1, "validation": 1, "test": 1}

    mrpc = tasks.get("glue/mrpc", tmp_path / "data")
    (row,) = mrpc.examples("validation")
    assert row["inputs"] == "sentence1: C . sentence2: D ."
    assert row["targets"] == "not_equivalent"
    sst2 = tasks.get("glue/sst2", tmp_path / "data")
    (row,) = sst2.examples("train")
    assert row["inputs"] == 'sentence: a "fine" film '
    assert row["targets"] == "positive"


@pytest.mark.parametrize("name", ["dev-v1.1.json", "squad-dev-v1.1.json"])
def test_squad_is_read_under_either_name(tmp_path, name):
    answers = [{"text": "Bo", "answer_start": 0}]
    question = {"id": "1", "question": "Who ran?", "answers": answers}
    paragraph = {"context": "Bo ran.", "qas": [question]}
    data = [{"title": "Bo", "paragraphs": [paragraph]}]
    (tmp_path / name).write_text(json.dumps({"version": 1, "data": data}))
    summary = prepare("squad", tmp_path, tmp_path / "data", allow_missing=True)
    assert summary.rows == {"validation": 1}
    task = tasks.get("squad", tmp_path / "data")
    (row,) = task.examples("validation")
    assert (row["targets"], row["answers"]) == ("Bo", ["Bo"])
