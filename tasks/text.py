"""Rows to inputs and targets: t5's preprocessors without the task's name.

Prompt tuning uses the "taskless" form of T5's tasks: the first word, which
names the task to a multi-task model, is removed (the reference code's regex
`^[^ ]* `). All functions here take and give a `tf.data.Dataset`.
"""

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class LabelledFields:
    """t5's `glue`: fields as "name: value", the label as its word.

    Before: {"hypothesis": "A dog ran.", "premise": "A dog.", "label": 1}
    After:  {"inputs": "rte hypothesis: A dog ran. premise: A dog.",
             "targets": "not_entailment"}

    The label -1 becomes "<unk>".

    Attributes:
        benchmark: the first word of the inputs.
        labels: the words, in the order of the labels' numbers.
        fields: which fields, in this order; empty for all, by name.
    """

    benchmark: str
    labels: tuple[str, ...]
    fields: tuple[str, ...] = ()

    def __call__(self, rows: "tf.data.Dataset") -> "tf.data.Dataset":
        """Rows with inputs, targets and the index of the row."""
        from t5.data import preprocessors

        return preprocessors.glue(
            rows,
            benchmark_name=self.benchmark,
            label_names=list(self.labels),
            feature_names=list(self.fields) or None,
        )


def sentences_to_rte(rows: "tf.data.Dataset") -> "tf.data.Dataset":
    """AX-b's fields under RTE's names, so that RTE's prompt reads them.

    Before: {"sentence1": "A cat sat.", "sentence2": "A cat.", ...}
    After:  {"premise": "A cat sat.", "hypothesis": "A cat.", ...}
    """
    from t5.data import preprocessors

    return preprocessors.rekey(
        rows,
        key_map={
            "premise": "sentence1",
            "hypothesis": "sentence2",
            "label": "label",
            "idx": "idx",
        },
    )


def record(rows: "tf.data.Dataset") -> "tf.data.Dataset":
    r"""t5's `record`: one row per distinct answer, all answers kept.

    Before: {"query": "A @placeholder sings.", "entities": ["bird", "wren"],
             "passage": "It sang.\n@highlight\nGood", "answers": ["wren"]}
    After:  {"inputs": "record query: A @placeholder sings. entities: bird, "
                       "wren passage: It sang. Good",
             "targets": "wren", "answers": ["wren"]}

    The metric counts each query once, however many answers it has.
    """
    from t5.data import preprocessors

    return preprocessors.record(rows)


def winograd(rows: "tf.data.Dataset") -> "tf.data.Dataset":
    """t5's `wsc_simple`: the pronoun between stars, the noun as the target.

    Before: {"text": "Ann met Bo as she left.", "span1_text": "Ann",
             "span2_text": "she", "span2_index": 4, "label": 1}
    After:  {"inputs": "wsc: Ann met Bo as *she* left.", "targets": "Ann",
             "label": 1}
    """
    from t5.data import preprocessors

    return preprocessors.wsc_simple(rows, correct_referent_only=False)


def only_true(rows: "tf.data.Dataset") -> "tf.data.Dataset":
    """Rows whose label is 1: where WSC's noun is the pronoun's referent."""
    return rows.filter(lambda row: row["label"] == 1)


def question_and_context(rows: "tf.data.Dataset") -> "tf.data.Dataset":
    """t5's `squad`: punctuation set apart, the first answer as the target.

    Before: {"question": "Who?", "context": "Ann.",
             "answers": {"text": ["Ann", "Ann."]}}
    After:  {"inputs": "question: Who ? context: Ann . ", "targets": "Ann",
             "answers": ["Ann", "Ann . "]}
    """
    from t5.data import preprocessors

    return preprocessors.squad(rows)


def without_task_name(rows: "tf.data.Dataset") -> "tf.data.Dataset":
    """Inputs without their first word.

    Before: {"inputs": "boolq passage: It rained. question: is it wet"}
    After:  {"inputs": "passage: It rained. question: is it wet"}
    """
    import tensorflow as tf

    def remove(row: dict[str, "tf.Tensor"]) -> dict[str, "tf.Tensor"]:
        inputs = tf.strings.regex_replace(row["inputs"], r"^[^ ]* ", "")
        return row | {"inputs": inputs}

    return rows.map(remove, num_parallel_calls=tf.data.AUTOTUNE)
