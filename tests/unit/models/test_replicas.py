"""Training on replicas, whole models and slices, against one device.

`oracles/replica_run.py` runs in processes of its own, which have two or four
logical devices.
"""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from oracles.replica_run import BANK_MESHES, MESHES

pytestmark = pytest.mark.slow
_PROGRAM = Path(__file__).parents[2] / "oracles" / "replica_run.py"


@pytest.fixture(scope="module")
def results(tmp_path_factory, tiny_tokenizer):
    folder = tmp_path_factory.mktemp("replicas")
    vocabulary = folder / "spiece.model"
    tiny_tokenizer.save(vocabulary)

    def start(count):
        return subprocess.Popen(
            [sys.executable, _PROGRAM, vocabulary, folder, str(count)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(process):
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        return json.loads(output)

    # The others compare with what one leaves behind.
    results = {1: finish(start(1))}
    processes = {count: start(count) for count in MESHES if count > 1}
    return results | {n: finish(process) for n, process in processes.items()}


@pytest.mark.parametrize("count", MESHES)
def test_twenty_steps_on_replicas_are_those_on_one_device(results, count):
    """Losses, prompt, evaluation and prediction; targets of unlike lengths."""
    found = results[count]["differences"]["replicas"]
    assert set(found) == {
        "losses",
        "prompt",
        "evaluated",
        "predicted",
        "partial",
    }
    assert max(found.values()) < 1e-5, found


def test_several_steps_an_execution_change_nothing(results):
    found = results[2]["differences"]["five steps an execution"]
    assert max(found.values()) < 1e-5, found


@pytest.mark.parametrize(
    ("count", "mesh"),
    [(count, " ".join(mesh)) for count in MESHES for mesh in MESHES[count]],
)
def test_a_model_split_over_replicas_trains_as_on_one_device(
    results, count, mesh
):
    found = results[count]["differences"][mesh]
    assert {"losses", "prompt", "evaluated", "predicted"} == set(found)
    assert max(found.values()) < 1e-5, found


@pytest.mark.parametrize("count", MESHES)
def test_an_epoch_gives_every_row_to_one_replica_once(results, count):
    """23 rows in batches of 8: the last one does not divide."""
    rows = results[count]["rows"]
    assert len(rows) == count
    assert sorted(itertools.chain(*rows)) == list(range(23))
    assert max(map(len, rows)) - min(map(len, rows)) <= 8 // count


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        ("generate", "inside strategy.run only: use fit, evaluate"),
        ("score", "inside strategy.run only: use fit, evaluate"),
        ("evaluator", "inside strategy.run only: use fit, evaluate"),
        ("unknown lengths", "static_shapes=True, drop_remainder=True"),
        ("jit_compile", "this model was made for 2. Leave it out"),
        ("clipnorm", "`clipnorm` must not be set on replicas: Keras clips"),
        ("clipvalue", "`clipvalue` must not be set on replicas: Keras clips"),
        ("train_on_batch", "a model on replicas takes a dataset, in `fit`"),
        ("test_on_batch", "takes a dataset, in `evaluate`"),
        ("mesh", "the strategy has replicas, 2. Received: a mesh of 4"),
        ("micro_batches", "`micro_batches` must be 1 under a strategy"),
        ("part of an epoch", "`steps_per_execution` must divide"),
    ],
)
def test_what_cannot_be_made_right_on_replicas_is_refused(
    results, attempt, words
):
    assert words in results[2]["said"][attempt]


@pytest.mark.parametrize("mesh", [mesh for mesh, _ in BANK_MESHES])
def test_a_prompt_that_is_not_finite_touches_no_other_prompts_rows(
    results, mesh
):
    found = results[2]["banks"][mesh]
    assert found == {"moved": True, "finite": True, "rows": ["b", "b"]}


def test_a_model_split_over_replicas_trains_with_dropout(results):
    losses = results[2]["dropped"]
    assert losses[-1] < losses[0]
    assert all(
        abs(loss - without) > 1e-3
        for loss, without in zip(losses, results[2]["kept"], strict=True)
    )


def test_an_int8_model_split_over_replicas_trains_as_on_one_device(results):
    found = results[2]["differences"]["int8"]
    assert max(found.values()) < 1e-5, found


def test_pretraining_on_replicas_is_that_on_one_device(results):
    """Reported losses and every weight after three steps."""
    found = results[2]["differences"]["language model"]
    assert {"losses", "evaluated", "shared.embedding"} < set(found)
    assert max(found.values()) < 1e-5, found
