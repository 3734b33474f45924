"""Each task's text, written out by hand: rows as tfds gives them, and after.

The same is compared with SeqIO's own tasks on real rows in
tests/parity/test_task_text.py.
"""

import dataclasses

import pytest
import tensorflow as tf

from keras_prompt import tasks


@dataclasses.dataclass(frozen=True)
class _OneRow:
    """A source of one row, which may be nested."""

    row: dict

    splits = ("train", "validation", "test")

    def dataset(self, split):
        return tf.data.Dataset.from_tensors(self.row)


def _examples(name, row, split="validation", **options):
    task = dataclasses.replace(tasks.get(name), source=_OneRow(row))
    return task.examples(split, **options)


_CASES = {
    "super_glue/boolq": (
        {"question": "is it wet", "passage": "It rained.", "label": 1},
        "passage: It rained. question: is it wet",
        "True",
    ),
    "super_glue/cb": (
        {"premise": "Did he say that?", "hypothesis": "he said", "label": 2},
        "hypothesis: he said premise: Did he say that?",
        "neutral",
    ),
    "super_glue/copa": (
        {
            "premise": "The sun rose.",
            "choice1": "It got light.",
            "choice2": "It rained.",
            "question": "effect",
            "label": 0,
        },
        "choice1: It got light. choice2: It rained. premise: The sun rose. "
        "question: effect",
        "choice1",
    ),
    "super_glue/multirc": (
        {
            "paragraph": "<b>Sent 1: </b>Bo ran.<br><b>Sent 2: </b>He fell.",
            "question": "Who ran?",
            "answer": "Bo",
            "label": 1,
            "idx": {"paragraph": 3, "question": 14, "answer": 15},
        },
        "question: Who ran? answer: Bo paragraph: Sent 1: Bo ran. Sent 2: He "
        "fell.",
        "True",
    ),
    "super_glue/rte": (
        {"premise": "Ann sings.", "hypothesis": "Ann is mute.", "label": 1},
        "hypothesis: Ann is mute. premise: Ann sings.",
        "not_entailment",
    ),
    "super_glue/wic": (
        {
            "word": "bank",
            "sentence1": "The river's bank.",
            "sentence2": "A bank loan.",
            "start1": 12,
            "end1": 16,
            "start2": 2,
            "end2": 6,
            "label": 0,
        },
        "sentence1: The river's bank. sentence2: A bank loan. word: bank",
        "False",
    ),
    "super_glue/wsc": (
        {
            "text": "Mitchell asked Tom if he could lend some money.",
            "span1_text": "Tom",
            "span2_text": "he",
            "span1_index": 2,
            "span2_index": 4,
            "label": 1,
        },
        "Mitchell asked Tom if *he* could lend some money.",
        "Tom",
    ),
    "super_glue/axb": (
        {"sentence1": "A cat sat.", "sentence2": "No cat sat.", "label": 1},
        "hypothesis: No cat sat. premise: A cat sat.",
        "not_entailment",
    ),
    "super_glue/axg": (
        {"premise": "She is a nurse.", "hypothesis": "A nurse.", "label": 0},
        "hypothesis: A nurse. premise: She is a nurse.",
        "entailment",
    ),
    "glue/mrpc": (
        {"sentence1": "He said no .", "sentence2": "He denied .", "label": 1},
        "sentence1: He said no . sentence2: He denied .",
        "equivalent",
    ),
    "glue/qqp": (
        {"question1": "Why me?", "question2": "Why you?", "label": 0},
        "question1: Why me? question2: Why you?",
        "not_duplicate",
    ),
    "glue/sst2": (
        {"sentence": "a gorgeous film ", "label": 1},
        "sentence: a gorgeous film ",
        "positive",
    ),
}


@pytest.mark.parametrize("name", _CASES)
def test_a_row_becomes_this_text(name):
    row, inputs, targets = _CASES[name]
    (example,) = _examples(name, {"idx": 7} | row)
    assert (example["inputs"], example["targets"]) == (inputs, targets)


@pytest.mark.parametrize("name", [n for n in _CASES if "wsc" not in n])
def test_a_label_that_is_withheld_becomes_unk(name):
    row = {"idx": 7} | _CASES[name][0] | {"label": -1}
    (example,) = _examples(name, row, "test")
    assert example["targets"] == "<unk>"


def test_multirc_keeps_the_question_that_an_answer_belongs_to():
    (example,) = _examples(
        "super_glue/multirc", _CASES["super_glue/multirc"][0]
    )
    assert (example["idx/paragraph"], example["idx/question"]) == (3, 14)


def test_wsc_trains_only_where_the_noun_is_the_referent():
    row = {"idx": 7} | _CASES["super_glue/wsc"][0] | {"label": 0}
    with pytest.raises(ValueError, match=r"Split 'train' .* has no rows"):
        _examples("super_glue/wsc", row, "train", to_train=True)
    for split in ("train", "validation"):  # to evaluate on
        (example,) = _examples("super_glue/wsc", row, split)
        assert (example["targets"], example["label"]) == ("Tom", 0)


def _record(answers):
    return {
        "passage": "Ann met Bo.\n@highlight\nBo left\n@highlight\nAnn stayed",
        "query": "It was @placeholder who left.",
        "entities": tf.constant(["Ann", "Bo"]),
        "answers": tf.constant(answers, tf.string),
        "idx": {"passage": 3, "query": 5},
    }


def test_record_has_one_row_for_each_answer():
    examples = _examples("super_glue/record", _record(["Bo", "Ann"]))
    inputs = (
        "query: It was @placeholder who left. entities: Ann, Bo "
        "passage: Ann met Bo. Bo left. Ann stayed"
    )
    assert [row["inputs"] for row in examples] == [inputs, inputs]
    assert [row["targets"] for row in examples] == ["Bo", "Ann"]
    assert examples[0]["answers"] == ["Bo", "Ann"]
    assert (examples[0]["idx/passage"], examples[0]["idx/query"]) == (3, 5)


def test_a_record_row_without_answers_becomes_unk():
    (example,) = _examples("super_glue/record", _record([]), "test")
    assert example["targets"] == "<unk>"


def test_squad_sets_punctuation_apart_and_keeps_every_answer():
    row = {
        "id": "q1",
        "title": "Ann",
        "question": "Who left?",
        "context": "Bo left, Ann stayed.",
        "answers": {"text": tf.constant(["Bo", "Bo left"])},
    }
    (example,) = _examples("squad", row)
    assert example["inputs"] == (
        "question: Who left ? context: Bo left , Ann stayed . "
    )
    assert example["targets"] == "Bo"
    assert example["answers"] == ["Bo", "Bo left"]


# Lester et al. 2021, tables 8 to 16, and the targets of t5; SQuAD's are ours.
_LABELS = {
    "super_glue/boolq": ("False", "True"),
    "super_glue/cb": ("entailment", "contradiction", "neutral"),
    "super_glue/copa": ("choice1", "choice2"),
    "super_glue/multirc": ("False", "True"),
    "super_glue/record": (
        "commonsense",
        "reasoning",
        "reading",
        "comprehension",
    ),
    "super_glue/rte": ("entailment", "not_entailment"),
    "super_glue/wic": ("False", "True"),
    "super_glue/wsc": ("commonsense", "pronoun", "resolution"),
    "super_glue/axb": ("entailment", "not_entailment"),
    "super_glue/axg": ("entailment", "not_entailment"),
    "glue/mrpc": ("not_equivalent", "equivalent"),
    "glue/qqp": ("not_duplicate", "duplicate"),
    "glue/sst2": ("negative", "positive"),
    "squad": ("question", "context", "answer"),
}


def test_these_words_initialise_a_prompt():
    assert {name: t.labels for name, t in tasks.TASKS.items()} == _LABELS


def test_the_generative_tasks_have_no_legal_outputs():
    free = {name for name, task in tasks.TASKS.items() if not task.label_words}
    assert free == {"super_glue/record", "super_glue/wsc", "squad"}


def test_every_task_of_the_package_is_tested_here():
    assert {*_CASES, "super_glue/record", "squad"} == set(tasks.TASKS)
