"""Labels that a vocabulary cannot tell apart, or cannot write."""

import pytest

from keras_prompt import make_dataset, tasks
from keras_prompt.tasks.label_words import check_labels, warn_of_unwritable


def _task(*labels, **options):
    rows = [{"inputs": "a", "targets": labels[0]}]
    source = tasks.RowsSource({"train": rows})
    return tasks.Task("t", source, labels=labels, **options)


def test_labels_of_one_unknown_token_are_refused(tiny_tokenizer):
    task = _task("\N{GRINNING FACE}", "\N{POUTING FACE}")
    message = r"labels of task 't' must differ .* same token ids .* other words"
    for call in (
        lambda: check_labels(task, tiny_tokenizer),
        lambda: make_dataset(task, "train", tiny_tokenizer),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_labels_that_differ_in_the_vocabulary_are_taken(tiny_tokenizer):
    check_labels(_task("positive", "negative"), tiny_tokenizer)
    check_labels(_task("a", closed=False), tiny_tokenizer)


def test_a_label_that_comes_out_as_other_text_is_warned_of(tiny_tokenizer):
    with pytest.warns(
        UserWarning, match=r"'very  good' .* is 'very good' when"
    ):
        warn_of_unwritable(_task("very  good"), tiny_tokenizer)


@pytest.mark.parametrize("mark", [False, True])
def test_a_label_that_comes_out_as_itself_is_not(tiny_tokenizer, recwarn, mark):
    task = _task("positive", "negative", has_sentinel=mark)
    warn_of_unwritable(task, tiny_tokenizer)
    assert not recwarn.list
