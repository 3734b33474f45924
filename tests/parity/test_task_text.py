"""Text, token ids and figures of every task beside SeqIO's own, on real rows.

The oracle is the task that t5 registers with SeqIO, with the task's name
removed from its inputs by the regex of the prompt-tuning code. Both read the
same records: those that `prepare` makes of the official files.
"""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_prompt import tasks
from keras_prompt.tasks.pipeline import make_dataset
from keras_prompt.tasks.prepare import prepare
from keras_prompt.tokenizer import Tokenizer

# Task: t5's name for it, and the rows of each split. Where the official files
# are not all at hand, a part of them stands in.
_CASES = {
    "super_glue/boolq": (
        "super_glue_boolq_v102",
        {"train": 1933, "validation": 3270, "test": 3245},
    ),
    "super_glue/cb": (
        "super_glue_cb_v102",
        {"train": 250, "validation": 56, "test": 250},
    ),
    "super_glue/copa": (
        "super_glue_copa_v102",
        {"train": 400, "validation": 100, "test": 500},
    ),
    "super_glue/multirc": (
        "super_glue_multirc_v102",
        {"train": 27243, "validation": 4848, "test": 9693},
    ),
    # 32 queries each, of which some have several answers.
    "super_glue/record": (
        "super_glue_record_v102",
        {"train": 44, "validation": 46},
    ),
    "super_glue/rte": (
        "super_glue_rte_v102",
        {"train": 2490, "validation": 277, "test": 3000},
    ),
    "super_glue/wic": (
        "super_glue_wic_v102",
        {"train": 5428, "validation": 638, "test": 1400},
    ),
    # t5 has one task to train on, of the rows that name the referent.
    "super_glue/wsc": (
        "super_glue_wsc_v102_simple_eval",
        {"train": 259, "validation": 104, "test": 146},
    ),
    "super_glue/axb": ("super_glue_axb_v102", {"test": 1104}),
    "super_glue/axg": ("super_glue_axg_v102", {"test": 356}),
    "glue/mrpc": (
        "glue_mrpc_v002",
        {"train": 3668, "validation": 408, "test": 1725},
    ),
    "glue/qqp": ("glue_qqp_v002", {"train": 9, "validation": 9, "test": 9}),
    "glue/sst2": (
        "glue_sst2_v002",
        {"train": 67349, "validation": 872, "test": 1821},
    ),
    "squad": ("squad_v010_allanswers", {"validation": 10570}),
}
_FOLDERS = {
    "glue/mrpc": "glue",
    "glue/sst2": "glue",
    "glue/qqp": "glue/QQP_sample",
    "squad": "qa",
}
_FILES = {
    "super_glue/boolq": {"train": "train.partial.jsonl"},
    "super_glue/record": {
        "train": "train.few32.jsonl",
        "validation": "dev32.jsonl",
    },
}
_SPLITS = [(name, split) for name in _CASES for split in _CASES[name][1]]


@pytest.fixture(scope="module")
def data_dir(shared_data, tmp_path_factory):
    """tfds' records of every task, made of the official files."""
    folder = tmp_path_factory.mktemp("data")
    for name in _CASES:
        prepare(
            name,
            shared_data / _FOLDERS.get(name, "superglue"),
            folder,
            files=_FILES.get(name),
            allow_missing=True,
        )
    return folder


@pytest.fixture(scope="module")
def oracle(data_dir):
    """t5's registered task for a task and a split."""
    import seqio
    import t5.data.tasks  # noqa: F401  registers

    def find(name, split):
        registered = _CASES[name][0]
        if name == "super_glue/wsc" and split == "train":
            registered = "super_glue_wsc_v102_simple_train"
        return seqio.TaskRegistry.get(registered)

    seqio.set_tfds_data_dir_override(str(data_dir))
    yield find
    seqio.set_tfds_data_dir_override(None)


def _without_name(row):
    inputs = tf.strings.regex_replace(row["inputs"], "^[^ ]* ", "")
    return row | {"inputs": inputs}


def _text_preprocessors(task):
    """What a registered task does before it tokenizes, and our one change."""
    import seqio

    steps = list(
        itertools.takewhile(
            lambda step: step is not seqio.preprocessors.tokenize,
            task.preprocessors,
        )
    )
    assert len(steps) < len(task.preprocessors)
    if not task.name.startswith("squad"):
        steps.append(lambda rows: rows.map(_without_name))
    return steps


def _text(task, split):
    rows = task.source.get_dataset(split, shuffle=False)
    for step in _text_preprocessors(task):
        rows = step(rows)
    return list(rows.as_numpy_iterator())


@pytest.mark.parametrize(("name", "split"), _SPLITS)
def test_the_text_is_seqios(data_dir, oracle, name, split):
    task = tasks.get(name, data_dir)
    examples = task.examples(split, to_train=split == "train")
    expected = _text(oracle(name, split), split)
    assert len(examples) == len(expected) == _CASES[name][1][split]
    for field in ("inputs", "targets"):
        ours = [row[field] for row in examples]
        assert ours == [row[field].decode() for row in expected]


@pytest.mark.parametrize(
    "name", [name for name in _CASES if "validation" in _CASES[name][1]]
)
def test_the_token_ids_are_seqios(data_dir, oracle, shared_data, name):
    import seqio

    path = shared_data / "vocab" / "spiece.model"
    vocabulary = seqio.SentencePieceVocabulary(str(path), extra_ids=100)
    feature = seqio.Feature(vocabulary, add_eos=True)
    registered = oracle(name, "validation")
    task = seqio.Task(
        "taskless",
        source=registered.source,
        preprocessors=[
            *_text_preprocessors(registered),
            seqio.preprocessors.tokenize,
            seqio.preprocessors.append_eos_after_trim,
        ],
        output_features={"inputs": feature, "targets": feature},
    )
    lengths = {"inputs": 64, "targets": 80}  # some inputs are cut
    expected = task.get_dataset(lengths, "validation", shuffle=False).take(200)
    ours = make_dataset(
        tasks.get(name, data_dir),
        "validation",
        Tokenizer.from_file(path),
        input_length=64,
        target_length=80,
        batch_size=1,
    )
    compared = 0
    for (x, y, _), row in zip(ours, expected, strict=False):
        ids = x["encoder_token_ids"][0]
        np.testing.assert_array_equal(ids, row["inputs"])
        np.testing.assert_array_equal(y[0], row["targets"])
        compared += 1
    assert compared == min(200, _CASES[name][1]["validation"])


def _outputs(rows):
    """Targets of which a third are right, the rest another's or no label."""
    rng = np.random.default_rng(0)
    targets = [row["targets"].decode() for row in rows]
    others = [targets[index] for index in rng.permutation(len(targets))]
    wrong = ["", "perhaps", "the", "Bob's"]
    return [
        (target, other, wrong[index % len(wrong)])[rng.integers(3)]
        for index, (target, other) in enumerate(
            zip(targets, others, strict=True)
        )
    ]


@pytest.mark.filterwarnings("ignore:F-score is ill-defined")
@pytest.mark.parametrize(
    "name", [name for name in _CASES if "validation" in _CASES[name][1]]
)
def test_the_figures_are_t5s(data_dir, oracle, name):
    task = tasks.get(name, data_dir)
    registered = oracle(name, "validation")
    rows = _text(registered, "validation")
    outputs = _outputs(rows)
    targets, predictions = [], []
    for row, output in zip(rows, outputs, strict=True):
        target = row["targets"].decode()
        row = row | {"targets_pretokenized": row["targets"]}
        postprocess = registered.postprocess_fn
        targets.append(postprocess(target, example=row, is_target=True))
        predictions.append(postprocess(output, example=row, is_target=False))
    expected = {}
    for metric in registered.metric_fns:
        expected |= metric(targets, predictions)
    found = task.evaluate(outputs, task.examples("validation"))
    assert found == pytest.approx(expected)
    assert 5 < task.score(found) < 95


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("super_glue/boolq", 62.2),
        ("super_glue/cb", 50.0),
        ("super_glue/copa", 55.0),
        ("super_glue/rte", 52.7),
        ("super_glue/wic", 50.0),
        ("glue/mrpc", 68.4),
    ],
)
def test_the_majority_is_the_papers(data_dir, name, share):
    # Lester et al. 2021, tables 8 to 15.
    task = tasks.get(name, data_dir)
    majority = task.majority(task.examples("validation"))
    assert majority["accuracy"] == pytest.approx(share, abs=0.06)
