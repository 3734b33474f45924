"""A bank trained on a mixture is the prompts of separate runs."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_prompt.layers.prompt_bank import PromptBank
from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models.prompt_bank_t5 import PromptBankT5
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.text_batches import pad_rows
from keras_prompt.optimizers import Adafactor
from keras_prompt.tasks.mixture import make_mixture_dataset
from keras_prompt.tasks.pipeline import make_dataset
from keras_prompt.tasks.sources import RowsSource
from keras_prompt.tasks.task import Task

LENGTHS = {"a": 3, "b": 9, "c": 5}
# A gradient near 0 is divided by its own size: what batches of other shapes
# round differently grows with every step, in proportion to this.
LEARNING_RATE = 0.05
# Which tasks' rows each of twelve batches has; no batch has all but two.
PRESENT = ["ab", "c", "abc", "b", "ac", "b", "ab", "bc", "abc", "c", "ac", "b"]


def single(model, name):
    """A model of this prompt of a bank alone, as it is now."""
    alone = PromptTunedT5(model.backbone, model.tokenizer, LENGTHS[name])
    alone.prompt.embeddings.assign(model.bank.prompts[name])
    return alone


def start():
    """Always the same prompts, as float32 is too short for some others.

    Of the seeds 0 to 11, 1 and 8 end `test_fit_on_a_mixture_…` 3e-3 and 1e-3
    apart, the others at most 5e-5. That is rounding, not another rule: no
    sign of a gradient differs in the first step, the difference grows from
    one to the next; a separate run that starts one rounding aside ends as far
    from itself (9e-3 and 2e-3); and with `float32` replaced by `float64` in
    every file, weights and starts the same, 1 and 8 end 2e-11 and 3e-12
    apart, the others at most 3e-13.
    """
    return keras.initializers.RandomUniform(-0.5, 0.5, seed=3)


def bank_of(model):
    bank = PromptBank(LENGTHS, start())
    return PromptBankT5(model.backbone, model.tokenizer, bank)


def compiled(model, step_offset=0, **options):
    model.compile(
        optimizer=Adafactor(LEARNING_RATE, step_offset=step_offset),
        loss=TokenCrossentropy(),
        **options,
    )
    return model


def batch(rng, names):
    """Rows of these tasks, in any order, with targets of unequal length."""
    rows = [n for n in names for _ in range(rng.integers(1, 4))]
    rng.shuffle(rows)
    inputs = [rng.integers(3, 90, rng.integers(2, 9)).tolist() for _ in rows]
    targets = [[*rng.integers(3, 90, rng.integers(1, 5)), 1] for _ in rows]
    ids, y = pad_rows(inputs), pad_rows(targets)
    x = {
        "encoder_token_ids": ids,
        "encoder_padding_mask": ids != 0,
        "decoder_token_ids": np.pad(y[:, :-1], [(0, 0), (1, 0)]),
        "task_index": np.asarray([list(LENGTHS).index(n) for n in rows]),
    }
    return x, y, (y != 0).astype(np.float32)


def part(data, index):
    """The rows of one task, or none."""
    x, y, weight = data
    mine = x["task_index"] == index
    x = {name: value[mine] for name, value in x.items()}
    return (x, y[mine], weight[mine]) if mine.any() else None


def dataset(batches):
    """Batches of any shape through one trace of the model."""
    first = batches[0]
    spec = tf.nest.map_structure(
        lambda array: tf.TensorSpec([None] * array.ndim, array.dtype), first
    )
    rows = tf.data.Dataset.from_generator(
        lambda: iter(batches), output_signature=spec
    )
    # Keras counts one step too many where it cannot know the last.
    return rows.apply(tf.data.experimental.assert_cardinality(len(batches)))


def assert_equal_separate_runs(bank, alone, batches):
    """Trains the bank on all rows, each other model on its task's."""
    start = {name: w.numpy() for name, w in bank.bank.prompts.items()}
    bank.fit(dataset(batches), verbose=0)
    for index, (name, model) in enumerate(alone.items()):
        mine = [part(data, index) for data in batches]
        mine = [data for data in mine if data is not None]
        model.fit(dataset(mine), verbose=0)
        assert int(model.optimizer.iterations) == len(mine)
        np.testing.assert_allclose(
            bank.bank.prompts[name],
            model.prompt.embeddings,
            rtol=1e-4,
            atol=1e-4,
            err_msg=name,
        )
        moved = np.abs(bank.bank.prompts[name] - start[name])
        assert moved.max() > 0.3 * LEARNING_RATE * len(mine)


@pytest.mark.parametrize("step_offset", [0, -1_100_000])
def test_twelve_steps_of_mixed_batches_are_those_of_separate_runs(
    tiny_model, step_offset
):
    bank = bank_of(tiny_model)
    alone = {
        name: compiled(single(bank, name), step_offset) for name in LENGTHS
    }
    rng = np.random.default_rng(0)
    batches = [batch(rng, present) for present in PRESENT]
    assert_equal_separate_runs(compiled(bank, step_offset), alone, batches)


def test_compiled_with_xla_the_steps_are_the_same(tiny_model):
    rng = np.random.default_rng(5)
    batches = [batch(rng, "abc") for _ in range(2)]
    results = []
    bank = bank_of(tiny_model)
    start = bank.get_weights()
    for jit_compile in (False, True):
        bank.set_weights(start)
        compiled(bank, jit_compile=jit_compile)
        for data in batches:
            bank.train_on_batch(*data)
        results.append({n: w.numpy() for n, w in bank.bank.prompts.items()})
    for name in LENGTHS:
        np.testing.assert_allclose(
            results[0][name], results[1][name], 1e-4, 1e-4
        )


def test_factored_moments_are_each_prompts_own(tiny_tokenizer):
    """130 vectors of width 128 are factored, 4 are not."""
    config = T5Config(tiny_tokenizer.vocabulary_size, 128, 4, 8, 2, 1, 1)
    backbone = MeshT5Backbone(config, seed=2)
    lengths = {"a": 130, "b": 4}
    bank = compiled(
        PromptBankT5(backbone, tiny_tokenizer, PromptBank(lengths, start()))
    )
    alone = {}
    for name, length in lengths.items():
        alone[name] = PromptTunedT5(backbone, tiny_tokenizer, length)
        alone[name].prompt.embeddings.assign(bank.bank.prompts[name])
        compiled(alone[name])
    rng = np.random.default_rng(1)
    batches = [batch(rng, names) for names in ("a", "b", "ab", "b", "ab")]
    assert_equal_separate_runs(bank, alone, batches)
    shapes = [tuple(v.shape) for v in bank.optimizer.variables]
    assert (130,) in shapes
    assert (128,) in shapes


def test_an_absent_prompt_and_what_is_kept_of_it_stand_still(tiny_model):
    bank = compiled(bank_of(tiny_model))
    rng = np.random.default_rng(3)
    bank.fit(dataset([batch(rng, "abc")]), verbose=0)

    def state():
        kept = {n: w.numpy() for n, w in bank.bank.prompts.items()}
        return kept | {
            v.path: v.numpy()
            for v in bank.optimizer.variables
            if "001_b" in v.path
        }

    before = state()
    assert len(before) == 3 + 2
    bank.fit(dataset([batch(rng, "ac")]), verbose=0)
    after = state()
    changed = {n for n in before if (before[n] != after[n]).any()}
    assert changed == {"a", "c"}


def test_fit_on_a_mixture_ends_as_fit_on_each_task(tiny_model):
    words = {"a": "a dull film", "b": "the dog", "c": "a man slept"}
    tasks = []
    for name, count in (("a", 9), ("b", 4), ("c", 6)):
        rows = [
            {
                "inputs": f"{words[name]} {'very ' * (i % 4)}{i}",
                "targets": "positive" if i % 2 else "negative",
            }
            for i in range(count)
        ]
        source = RowsSource({"train": rows})
        tasks.append(Task(name, source, labels=("positive", "negative")))
    options = {
        "input_length": 16,
        "target_length": 12,
        "batch_size": 3,
        "repeat": True,
    }
    bank = bank_of(tiny_model)
    alone = {name: compiled(single(bank, name)) for name in LENGTHS}
    train = make_mixture_dataset(tasks, "train", bank.tokenizer, **options)
    fit = {"epochs": 2, "steps_per_epoch": 6, "verbose": 0}
    compiled(bank).fit(train, **fit)
    for task in tasks:
        model = alone[task.name]
        rows = make_dataset(task, "train", bank.tokenizer, **options)
        model.fit(rows, **fit)
        np.testing.assert_allclose(
            bank.bank.prompts[task.name], model.prompt.embeddings, 1e-4, 1e-4
        )


def test_a_mixture_in_another_order_than_the_bank_is_refused(tiny_model):
    rows = RowsSource({"train": [{"inputs": "a", "targets": "True"}] * 2})
    tasks = [Task(name, rows, labels=("True",)) for name in ("b", "a", "c")]
    bank = compiled(bank_of(tiny_model))
    train = make_mixture_dataset(tasks, "train", bank.tokenizer)
    with pytest.raises(ValueError, match="the bank's, in its order"):
        bank.fit(train)


# Three steps of two replicas, and of one device, on the same rows.
_REPLICAS = """
import sys
sys.path.insert(0, sys.argv[2])
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
import importlib.util
spec = importlib.util.spec_from_file_location("training", sys.argv[3])
training = importlib.util.module_from_spec(spec)
spec.loader.exec_module(training)
from keras_prompt.tokenizer import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1])
config = training.T5Config(tokenizer.vocabulary_size, 16, 4, 8, 2, 1, 1)
rng = np.random.default_rng(4)
x, y, weight = training.batch(rng, "abcab")
rows = len(y) // 2 * 2
data = tf.nest.map_structure(lambda a: a[:rows], (x, y, weight))
results = []
start = None
for strategy in (
    tf.distribute.get_strategy(),
    tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
):
    with strategy.scope():
        backbone = training.MeshT5Backbone(config, seed=2)
        bank = training.PromptBank(training.LENGTHS, training.start())
        model = training.PromptBankT5(backbone, tokenizer, bank)
        start = start or bank.get_weights()
        bank.set_weights(start)
        if sys.argv[4] == "own":
            training.compiled(model)
        else:  # whose steps, unlike Adafactor's, grow with the gradient
            loss = keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="mean_with_sample_weight"
            )
            model.compile(keras.optimizers.SGD(10.0), loss)
        # Not fit: Keras would first take the mean of the replicas' token ids.
        model.optimizer.build(model.trainable_variables)
    model.make_train_function()
    whole = tf.data.Dataset.from_tensor_slices(data).batch(rows).repeat(3)
    batches = iter(strategy.experimental_distribute_dataset(whole))
    for _ in range(3):
        model.train_function(batches)
    results.append(bank.get_weights())
for before, one, two in zip(start, *results, strict=True):
    assert np.abs(one - before).max() > training.LEARNING_RATE
    np.testing.assert_allclose(one, two, 1e-4, 1e-4)
"""


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["own", "keras"])
def test_two_replicas_train_the_bank_as_one_device_does(
    tiny_tokenizer, tmp_path, loss
):
    """Each replica has other tasks' rows, and other numbers of tokens."""
    vocabulary = tmp_path / "spiece.model"
    tiny_tokenizer.save(vocabulary)
    here = Path(__file__)
    done = subprocess.run(
        [sys.executable, "-c", _REPLICAS, vocabulary, here.parent, here, loss],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
