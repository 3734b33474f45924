"""Tasks for a T5 that was never LM-adapted: targets behind `<extra_id_0>`."""

import pytest

from keras_prompt import tasks
from keras_prompt.tasks.pipeline import make_dataset

ROWS = [
    {"inputs": "the film is a delight", "targets": "positive"},
    {"inputs": "a dull film", "targets": "negative"},
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


def test_the_name_with_sentinel_is_that_task_with_a_sentinel(task):
    found = tasks.get("films+sentinel")
    assert (found.name, found.has_sentinel) == ("films+sentinel", True)
    assert not tasks.get("films").has_sentinel
    with pytest.raises(ValueError, match="Did you mean 'films'"):
        tasks.get("film+sentinel")


def test_targets_begin_with_the_last_id_of_the_vocabulary(task, tiny_tokenizer):
    plain, marked = (
        next(
            iter(
                make_dataset(
                    each,
                    "validation",
                    tiny_tokenizer,
                    target_length=12,
                )
            )
        )
        for each in (task, task.with_sentinel())
    )
    first = tiny_tokenizer.vocabulary_size - 1
    assert marked[1].numpy()[:, 0].tolist() == [first, first]
    assert marked[1].numpy()[:, 1:].tolist() == plain[1].numpy().tolist()
    assert marked[2].numpy().sum() == plain[2].numpy().sum() + 2
    # What is ranked is what is trained on.
    text = task.with_sentinel().to_write("positive")
    ids = [*tiny_tokenizer.encode(text), tiny_tokenizer.eos_id]
    assert marked[1].numpy()[0, : len(ids)].tolist() == ids


def test_the_sentinel_is_removed_before_scoring(task, tiny_tokenizer):
    marked = task.with_sentinel()
    ids = tiny_tokenizer.encode(marked.to_write("positive"))
    written = tiny_tokenizer.decode(ids)
    assert written == "<extra_id_0> positive"
    assert marked.read(written) == "positive"
    # Without it, the output stays what it is; elsewhere it is no prefix.
    assert marked.read("positive") == "positive"
    assert marked.read("a <extra_id_0>") == "a <extra_id_0>"
    assert task.read(written) == written


def test_labels_examples_and_metrics_are_without_it(task):
    marked = task.with_sentinel()
    assert marked.labels == task.labels
    examples = marked.examples("validation")
    assert examples == task.examples("validation")
    assert marked.evaluate(["positive", "negative"], examples) == {
        "accuracy": 100.0
    }


def test_both_ways_of_answering_compare_labels(task, tiny_model):
    from keras_prompt.training.evaluation import evaluate_examples

    marked = task.with_sentinel()
    examples = marked.examples("validation")
    ranked = evaluate_examples(tiny_model, marked, examples, answer_by="rank")
    assert set(ranked.outputs) <= set(task.labels)
    expected = tiny_model.rank(
        [row["inputs"] for row in examples],
        ["<extra_id_0> positive", "<extra_id_0> negative"],
    )
    assert ranked.outputs == [
        task.labels[best] for best in expected.argmax(axis=1)
    ]

    class Writer:
        prompt_weights = tiny_model.prompt_weights
        tokenizer = tiny_model.tokenizer

        def generate(self, texts, *arguments, **options):
            return ["<extra_id_0> positive"] * len(texts)

    found = evaluate_examples(Writer(), marked, examples)
    assert found.outputs == ["positive", "positive"]
    assert found.illegal_share == 0
