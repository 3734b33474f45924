"""What a Task promises, and how tasks are found by name."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from keras_prompt import tasks
from keras_prompt.tasks.task import Task

_ROWS = [
    {"inputs": "good film", "targets": "positive"},
    {"inputs": "fine film", "targets": "positive"},
    {"inputs": "bad film", "targets": "negative"},
]


def _task(rows=None, **arguments):
    defaults = {
        "name": "films",
        "source": tasks.RowsSource({"train": _ROWS if rows is None else rows}),
        "labels": ("negative", "positive"),
    }
    return Task(**defaults | arguments)


def test_examples_are_the_rows_in_order():
    assert _task().examples("train") == _ROWS


def test_examples_keep_numbers_flags_and_lists_of_unequal_length():
    rows = [
        {"inputs": "a", "targets": "b", "n": 3, "w": 0.5, "ok": True,
         "answers": ["x", "y"]},
        {"inputs": "ä", "targets": "", "n": -1, "w": 2.0, "ok": False,
         "answers": []},
    ]  # fmt: skip
    assert _task(rows, closed=False).examples("train") == rows


def test_preprocessors_are_applied_in_order_and_the_train_ones_first():
    import tensorflow as tf

    def appended(word):
        def append(row):
            inputs = tf.strings.join([row["inputs"], word], separator=" ")
            return row | {"inputs": inputs}

        return lambda rows: rows.map(append)

    rows = [{"inputs": "0", "targets": "positive"}]
    task = _task(
        source=tasks.RowsSource({"train[:1]": rows, "test": rows}),
        train_preprocessors=[appended("1")],
        preprocessors=[appended("2"), appended("3")],
    )
    trained_on = task.examples("train[:1]", to_train=True)
    assert trained_on[0]["inputs"] == "0 1 2 3"
    for split in ("train[:1]", "test"):  # held out of "train", or not
        assert task.examples(split)[0]["inputs"] == "0 2 3"


def test_an_unknown_split_is_refused():
    with pytest.raises(
        ValueError, match=r"Unknown split 'trian'. Did you mean"
    ):
        _task().examples("trian")


def test_rows_without_targets_are_refused():
    with pytest.raises(ValueError, match=r"Missing: targets. Found: inputs, l"):
        _task([{"inputs": "a", "label": "b"}]).examples("train")


def test_targets_that_are_numbers_are_refused():
    rows = [{"inputs": "a", "targets": 1}]
    with pytest.raises(ValueError, match=r"'targets' .* one text a row.*int64"):
        _task(rows).examples("train")


def test_a_list_of_targets_is_refused():
    rows = [{"inputs": "a", "targets": ["positive", "negative"]}]
    with pytest.raises(ValueError, match=r"'targets' .* one text a row"):
        _task(rows).examples("train")


def test_a_column_of_columns_is_refused():
    def nest(rows):
        return rows.map(lambda row: row | {"of": {"b": row["inputs"], "a": 1}})

    with pytest.raises(
        ValueError,
        match=r"The column 'of' of task 'films' must be text, numbers or lists "
        r".*Received: a column with the columns a, b\. Leave it out",
    ):
        _task(preprocessors=[nest]).examples("train")


def test_a_sparse_column_is_refused():
    import tensorflow as tf

    def add(rows):
        return rows.map(lambda row: row | {"n": tf.sparse.from_dense([0, 1])})

    with pytest.raises(ValueError, match=r"'n' .* Received: SparseTensorSpec"):
        _task(preprocessors=[add]).examples("train")


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="no rows in split 'train'"):
        _task([]).examples("train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "`name` must not be empty"),
        ({"labels": "yes"}, "`labels` must be a sequence of words"),
        ({"labels": ("yes", 1)}, "`labels` must be a sequence of words"),
        ({"labels": ("yes", "yes")}, "must differ from each other"),
        ({"labels": ()}, "For free text pass closed=False"),
        ({"metrics": ()}, "`metrics` must hold at least one"),
    ],
)
def test_a_task_that_cannot_work_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        _task(**arguments)


def test_accuracy_of_the_text_is_the_default_metric():
    outputs = ["positive", "negative", "negative"]
    found = _task().evaluate(outputs, _ROWS)
    assert found == {"accuracy": pytest.approx(200 / 3)}


def test_evaluate_refuses_another_number_of_outputs():
    with pytest.raises(ValueError, match="2 outputs and 3 examples"):
        _task().evaluate(["positive", "negative"], _ROWS)


def test_evaluate_refuses_nothing():
    with pytest.raises(ValueError, match="0 outputs and 0 examples"):
        _task().evaluate([], [])


@pytest.mark.parametrize("extra", [{"targets": "<unk>"}, {"label": -1}])
def test_evaluate_refuses_examples_without_labels(extra):
    with pytest.raises(ValueError, match=r"Row 0 .* no label to learn or to"):
        _task(closed=False).evaluate(["positive"], [_ROWS[0] | extra])


def test_a_label_column_of_the_users_own_says_nothing_of_the_targets():
    rows = [row | {"label": -1} for row in _ROWS]
    outputs = [row["targets"] for row in rows]
    assert _task().evaluate(outputs, rows) == {"accuracy": 100.0}


def test_evaluate_refuses_a_target_that_is_no_label():
    rows = [{"inputs": "a", "targets": target} for target in ("bad", "Bad")]
    task = _task(
        labels=("good", "bad"), postprocessor=tasks.LabelIndex(("good", "bad"))
    )
    with pytest.raises(ValueError, match=r"Row 1 .*'Bad'.* Did you mean 'bad'"):
        task.evaluate(["bad", "neither"], rows)


@pytest.mark.parametrize("name", ["score", "majority", "illegal_share", "f1"])
def test_a_metric_that_another_figure_would_replace_is_refused(name):
    metrics = [lambda *_: {"f1": 1.0}, lambda *_: {name: 2.0}]
    task = _task(metrics=metrics)
    with pytest.raises(ValueError, match=rf"f1, {name}\. Rename '{name}'"):
        task.evaluate([row["targets"] for row in _ROWS], _ROWS)


def test_the_majority_is_the_most_frequent_target():
    found = _task().majority(_ROWS)
    assert found == {"accuracy": pytest.approx(200 / 3)}


def test_an_open_task_has_no_majority():
    assert _task(closed=False).majority(_ROWS) is None


def test_names_are_sorted_and_hold_every_task_of_the_package():
    names = tasks.names()
    assert names == sorted(names)
    assert {
        "super_glue/boolq",
        "super_glue/cb",
        "super_glue/copa",
        "super_glue/multirc",
        "super_glue/record",
        "super_glue/rte",
        "super_glue/wic",
        "super_glue/wsc",
        "super_glue/axb",
        "super_glue/axg",
        "glue/mrpc",
        "glue/qqp",
        "glue/sst2",
        "squad",
    } <= set(names)


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"Did you mean 'super_glue/boolq'?"):
        tasks.get("super_glue/bolq")


@pytest.mark.usefixtures("registered")
def test_a_registered_task_is_found_and_may_be_registered_again(caplog):
    first, second = _task(), _task()
    assert tasks.register(first) is first
    assert tasks.get("films") is first
    assert "films" in tasks.names()
    tasks.register(second)
    assert tasks.get("films") is second
    assert "'films' replaces one registered before" in caplog.text


@pytest.mark.usefixtures("registered")
def test_a_task_of_the_package_cannot_be_replaced():
    with pytest.raises(ValueError, match="Choose another name"):
        tasks.register(_task(name="super_glue/cb"))


@pytest.mark.usefixtures("registered")
def test_only_a_task_can_be_registered():
    with pytest.raises(ValueError, match="must be a Task"):
        tasks.register("super_glue/cb")


@pytest.mark.usefixtures("registered")
def test_a_name_that_get_makes_of_another_is_not_registered():
    with pytest.raises(ValueError, match=r"Register 'films' without it: `get`"):
        tasks.register(_task().with_sentinel())
    assert "films+sentinel" not in tasks.names()
    tasks.register(_task())
    assert tasks.get("films+sentinel") == _task().with_sentinel()


def test_a_data_dir_reaches_the_source_and_changes_nothing_else():
    task = tasks.get("super_glue/rte", data_dir="/data")
    assert task.source.folder == Path("/data/super_glue/rte/1.0.2")
    default = tasks.get("super_glue/rte")
    assert dataclasses.replace(task, source=default.source) == default


@pytest.mark.usefixtures("registered")
def test_a_data_dir_for_rows_in_memory_is_refused():
    tasks.register(_task())
    with pytest.raises(ValueError, match="takes no `data_dir`"):
        tasks.get("films", data_dir="/data")


def _python(code):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(tasks.__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )


def test_names_need_no_tensorflow():
    code = (
        "import sys; from keras_prompt import tasks; tasks.names();"
        "print({'tensorflow', 't5', 'seqio'} & set(sys.modules))"
    )
    assert _python(code).stdout == "set()\n"
