"""Each task's figures, worked out by hand, with outputs that are no label."""

import pytest

from keras_prompt import tasks


def _examples(targets, **columns):
    return [
        {"inputs": "", "targets": target}
        | {key: column[index] for key, column in columns.items()}
        for index, target in enumerate(targets)
    ]


def _evaluate(name, outputs, targets, **columns):
    return tasks.get(name).evaluate(outputs, _examples(targets, **columns))


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("super_glue/boolq", "True", "False"),
        ("super_glue/copa", "choice1", "choice2"),
        ("super_glue/rte", "entailment", "not_entailment"),
        ("super_glue/wic", "False", "True"),
        ("super_glue/axg", "entailment", "not_entailment"),
        ("glue/sst2", "positive", "negative"),
    ],
)
def test_accuracy_counts_what_is_no_label_as_wrong(name, right, wrong):
    outputs = [right, wrong, right.upper() + "!", ""]
    found = _evaluate(name, outputs, [right] * 4)
    assert found == {"accuracy": 25.0}


def test_cb_has_the_mean_f1_of_three_classes_and_accuracy():
    # entailment: precision 1/2, recall 1/1, F1 2/3; contradiction: 1/1, 1/2,
    # 2/3; neutral is never said: 0. The mean is 4/9.
    found = _evaluate(
        "super_glue/cb",
        ["entailment", "contradiction", "entailment", "perhaps"],
        ["entailment", "contradiction", "contradiction", "neutral"],
    )
    expected = {"mean_3class_f1": 400 / 9, "accuracy": 50.0}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "no", "yes"),
    [
        ("glue/mrpc", "not_equivalent", "equivalent"),
        ("glue/qqp", "not_duplicate", "duplicate"),
    ],
)
def test_an_invalid_output_is_the_wrong_class_in_f1(name, no, yes):
    # Class 1: said for rows 0, 1 and (invalid, target 0) 3; right in 0 and 1;
    # missed in (invalid, target 1) 2. Precision 2/3, recall 2/3.
    found = _evaluate(name, [yes, yes, "maybe", "maybe"], [yes, yes, yes, no])
    assert found == pytest.approx({"f1": 200 / 3, "accuracy": 50.0})


def test_multirc_groups_answers_by_question_for_the_exact_match():
    # Question 8 is all right; 9 has one of two. F1: precision 2/2, recall
    # 2/3 (the invalid output counts as False where True was right).
    found = _evaluate(
        "super_glue/multirc",
        ["True", "False", "True", "neither"],
        ["True", "False", "True", "True"],
        **{"idx/question": [8, 8, 9, 9]},
    )
    assert found == pytest.approx({"f1": 80.0, "exact_match": 50.0})


def test_record_takes_the_best_answer_and_each_query_once():
    # Query 1 stands twice, once for each answer; "the Bo Li" is "Bo Li".
    # Query 2: one of two words of the answer, F1 2/3.
    columns = {
        "idx/passage": [7, 7, 7],
        "idx/query": [1, 1, 2],
        "answers": [["Bo Li", "Li"], ["Bo Li", "Li"], ["Ann Ray"]],
    }
    found = _evaluate(
        "super_glue/record",
        ["the Bo Li", "nobody", "Ann"],
        ["Bo Li", "Li", "Ann Ray"],
        **columns,
    )
    assert found == pytest.approx({"em": 50.0, "f1": (100 + 200 / 3) / 2})


def test_squad_takes_the_best_answer():
    found = _evaluate(
        "squad",
        ["The dog .", "grey cat"],
        ["dog", "cat"],
        answers=[["dog", "a small dog"], ["cat"]],
    )
    assert found == pytest.approx({"em": 50.0, "f1": (100 + 200 / 3) / 2})


@pytest.mark.parametrize(
    ("output", "referent", "label", "accuracy"),
    [
        ("Tom", "Tom", 1, 100.0),
        ("tom", "Tom", 1, 100.0),
        ("fuzzy bunny", "the bunny", 1, 100.0),
        ("the bunny", "fuzzy bunny", 1, 100.0),
        ("Mitchell", "Tom", 1, 0.0),
        ("Mitchell", "Tom", 0, 100.0),
        ("Tom", "Tom", 0, 0.0),
        # Not one side alone may have an apostrophe.
        ("Bob", "Bob's hat", 1, 0.0),
        ("Bob", "Bob's hat", 0, 100.0),
        ("Bob's hat", "Bob's", 1, 100.0),
        # No answer agrees with no label.
        ("", "Tom", 0, 0.0),
        ("", "Tom", 1, 0.0),
        ("the", "Tom", 0, 0.0),
    ],
)
def test_wsc_judges_whether_the_referent_was_named(
    output, referent, label, accuracy
):
    found = _evaluate("super_glue/wsc", [output], [referent], label=[label])
    assert found == {"accuracy": accuracy}


def test_axb_has_matthews_correlation():
    # Two right, one wrong each way and one right: tp 2, tn 1, fp 1, fn 1:
    # (2*1 - 1*1) / sqrt(3*3*2*2) = 1/6.
    yes, no = "entailment", "not_entailment"
    found = _evaluate(
        "super_glue/axb",
        [no, no, yes, no, yes],
        [no, no, yes, yes, no],
    )
    assert found == pytest.approx({"matthews_corrcoef": 100 / 6})


@pytest.mark.parametrize(
    "name", sorted(name for name in tasks.TASKS if tasks.get(name).closed)
)
def test_one_class_for_everything_raises_no_warning(name):
    task = tasks.get(name)
    columns = {"idx/question": list(range(len(task.labels)))}
    examples = _examples(task.labels, **columns)
    found = task.evaluate([task.labels[0]] * len(examples), examples)
    assert all(0 <= value <= 50 for value in found.values())
    assert task.majority(examples) == found


def test_rows_of_one_class_raise_no_warning():
    labels = ["entailment"] * 3
    found = _evaluate("super_glue/axb", labels, labels)
    assert found == {"matthews_corrcoef": 0.0}


def test_a_class_that_no_row_has_counts_as_zero_without_a_warning():
    # The F1 of entailment is 1; the other two classes never occur.
    found = _evaluate("super_glue/cb", ["entailment"], ["entailment"])
    expected = {"mean_3class_f1": 100 / 3, "accuracy": 100.0}
    assert found == pytest.approx(expected)


def test_the_score_of_a_task_is_the_mean_of_its_metrics():
    # Lester et al. 2021, section 3.
    assert tasks.get("super_glue/cb").score(
        {"mean_3class_f1": 40.0, "accuracy": 50.0}
    ) == pytest.approx(45.0)


def test_squad_s_score_is_its_f1_as_the_paper_chose():
    squad = tasks.get("squad")
    assert squad.score({"em": 40.0, "f1": 60.0}) == 60.0
    with pytest.raises(ValueError, match="Unknown metric 'f1'"):
        squad.score({"em": 40.0})
