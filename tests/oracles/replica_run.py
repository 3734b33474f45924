"""The same training on one, two and four replicas, in processes of their own.

`python replica_run.py VOCABULARY FOLDER COUNT` prints one JSON object. The
process of one replica leaves in the folder what the others compare with; a
process has one strategy, as TensorFlow's collectives do not let go of another.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import keras
import numpy as np
import tensorflow as tf
from oracles.mesh_run import FULL, build, bytes_per_device, devices, difference

STEPS = 20
# Where one prompt of two is not finite.
BANK_MESHES = (("", ""), ("batch:2", "batch:batch"), ("model:2", FULL))
# Meshes of replicas by their number.
MESHES = {
    1: (),
    2: (("model:2", FULL),),
    4: (
        ("model:4", FULL),
        ("batch:2;model:2", "batch:batch;" + FULL),
    ),
}


def dataset(model, rows, **options):
    """Targets of very unlike lengths, so that replicas have unlike shares."""
    from keras_prompt.tasks.pipeline import make_dataset
    from keras_prompt.tasks.sources import RowsSource
    from keras_prompt.tasks.task import Task

    examples = [
        {
            "inputs": f"the film {'is dull ' * (i % 3)}",
            "targets": "a film " * (1 + 3 * (i % 3)),
        }
        for i in range(rows)
    ]
    task = Task("toy", RowsSource({"train": examples}), closed=False)
    return make_dataset(
        task,
        "train",
        model.tokenizer,
        input_length=16,
        target_length=24,
        batch_size=8,
        **options,
    )


def rows_of_an_epoch(strategy):
    """The rows that each local replica is given in one pass over 23 rows."""
    from keras_prompt.tasks.pipeline import make_dataset
    from keras_prompt.tasks.sources import RowsSource
    from keras_prompt.tasks.task import Task

    class NumberTokenizer:
        pad_id, eos_id = 0, 1

        def encode_tensor(self, texts):
            words = tf.strings.split(texts)
            numbers = tf.strings.to_number(words.values, tf.int32)
            return words.with_values(numbers)

    rows = [{"inputs": f"{n + 10}", "targets": "5"} for n in range(23)]
    task = Task("numbers", RowsSource({"train": rows}), closed=False)
    data = make_dataset(task, "train", NumberTokenizer(), batch_size=8)
    found = []
    for x, _, _ in strategy.experimental_distribute_dataset(data):
        parts = strategy.experimental_local_results(x["encoder_token_ids"])
        found = found or [[] for _ in parts]
        for mine, part in zip(found, parts, strict=True):
            mine += [int(row[0]) - 10 for row in part]
    return found


def fit(vocabulary, strategy, mesh=("", ""), steps_per_execution=1, **options):
    from keras_prompt.losses import TokenCrossentropy
    from keras_prompt.optimizers import Adafactor

    static = (
        {"static_shapes": True, "drop_remainder": True} if any(mesh) else {}
    )
    with strategy.scope():
        model = build(vocabulary, *mesh, rematerialize=any(mesh), **options)
        data = dataset(model, 24, repeat=True, **static)
        model.compile(
            optimizer=Adafactor(0.3),
            loss=TokenCrossentropy(),
            steps_per_execution=steps_per_execution,
        )
    losses = model.fit(
        data, epochs=4, steps_per_epoch=STEPS // 4, verbose=0
    ).history["loss"]
    assert int(model.optimizer.iterations.numpy()) == STEPS
    if any(mesh):
        check_bytes(model.backbone, mesh, options.get("dtype", "float32"))
    found = {
        "losses": np.array(losses),
        "prompt": model.prompt.embeddings.numpy(),
        "evaluated": np.array(
            model.evaluate(dataset(model, 24, **static), verbose=0)
        ),
        "predicted": model.predict(
            dataset(model, 24, static_shapes=True, drop_remainder=True),
            verbose=0,
        ),
    }
    if not any(mesh):  # the last batch leaves some replicas without rows
        found["partial"] = np.array(
            model.evaluate(dataset(model, 18), verbose=0)
        )
    return found


def language_model(strategy, micro_batches=1):
    """Three steps of pre-training; rows of very unlike numbers of targets."""
    from keras_prompt.losses import TokenCrossentropy
    from keras_prompt.models.language_model import T5LanguageModel
    from keras_prompt.models.t5.backbone import MeshT5Backbone
    from keras_prompt.models.t5.config import T5Config
    from keras_prompt.optimizers import Adafactor

    rng = np.random.default_rng(0)
    rows, source, target = 3 * 4, 8, 6
    x = {
        "encoder_token_ids": rng.integers(2, 40, (rows, source)),
        "encoder_segments": np.ones((rows, source), np.int32),
        "encoder_padding_mask": np.ones((rows, source), bool),
        "decoder_token_ids": rng.integers(2, 40, (rows, target)),
        "decoder_segments": np.ones((rows, target), np.int32),
    }
    y = rng.integers(2, 40, (rows, target))
    # A batch's rows count 6, 5, 2 and 1 targets.
    counts = np.tile([6, 5, 2, 1], 3)
    weights = (np.arange(target) < counts[:, None]).astype(np.float32)
    data = tf.data.Dataset.from_tensor_slices((x, y, weights))
    data = data.batch(4, drop_remainder=True)
    with strategy.scope():
        config = T5Config(40, 16, 4, 24, 2, 2, 1)
        backbone = MeshT5Backbone(config, seed=1, trainable=True)
        model = T5LanguageModel(backbone, micro_batches)
        model.compile(
            Adafactor(0.01, scale_by_parameter_size=True, weight_decay=0.0),
            TokenCrossentropy(),
        )
    losses = model.fit(data, verbose=0).history["loss"]
    return {
        "losses": np.array(losses),
        "evaluated": np.array(model.evaluate(data, verbose=0)),
    } | {w.name: w.numpy() for w in backbone.weights}


def bank_of_a_bad_prompt(vocabulary, strategy, mesh):
    """What a step and a prediction leave finite; rows of "a" are the bad."""
    from keras_prompt.layers.prompt_bank import PromptBank
    from keras_prompt.losses import TokenCrossentropy
    from keras_prompt.models.prompt_bank_t5 import PromptBankT5
    from keras_prompt.optimizers import Adafactor

    rng = np.random.default_rng(0)
    tasks = ["a", "b", "b", "a"]
    with strategy.scope():
        base = build(vocabulary, *mesh)
        bank = PromptBank({"a": 2, "b": 3})
        model = PromptBankT5(base.backbone, base.tokenizer, bank)
        model.compile(optimizer=Adafactor(0.3), loss=TokenCrossentropy())
    before = rng.normal(size=(3, 16))
    bank.prompts["a"].assign(np.full((2, 16), np.nan))
    bank.prompts["b"].assign(before)
    x = {
        "encoder_token_ids": rng.integers(3, 90, (4, 6)),
        "encoder_padding_mask": np.ones((4, 6), bool),
        "decoder_token_ids": rng.integers(3, 90, (4, 3)),
        "task_index": bank.index(tasks),
    }
    y, weights = rng.integers(3, 90, (4, 3)), np.ones((4, 3), np.float32)
    data = tf.data.Dataset.from_tensor_slices((x, y, weights))
    data = data.batch(4, drop_remainder=True)
    model.fit(data, verbose=0)
    found = bank.prompts["b"].numpy()
    logits = model.predict(data, verbose=0)
    return {
        "moved": bool((found != before.astype(np.float32)).all()),
        "finite": bool(np.isfinite(found).all()),
        "rows": [
            task
            for task, row in zip(tasks, logits, strict=True)
            if np.isfinite(row).all()
        ],
    }


def check_bytes(backbone, mesh, dtype):
    """Each replica's device holds its slices and no more."""
    from keras_prompt.models.layout import parse_layout
    from keras_prompt.models.plan import weight_bytes
    from keras_prompt.models.t5.variables import dimension_sizes

    config = backbone.config
    layout = parse_layout(*mesh, dimension_sizes(config))
    held = bytes_per_device(backbone)
    assert len(held) == layout.device_count
    assert set(held.values()) == {weight_bytes(config, layout, dtype)}


def refusals(vocabulary, strategy):
    """What a model split over replicas says to what it cannot do."""
    from keras_prompt.losses import TokenCrossentropy
    from keras_prompt.optimizers import Adafactor
    from keras_prompt.tasks.sources import RowsSource
    from keras_prompt.tasks.task import Task
    from keras_prompt.training.evaluator import TaskEvaluator

    with strategy.scope():
        model = build(vocabulary, *MESHES[2][0])
        model.compile(optimizer=Adafactor(0.3), loss=TokenCrossentropy())
    rows = [{"inputs": "the film", "targets": "a"}]
    evaluator = TaskEvaluator(
        Task("toy", RowsSource({"validation": rows}), closed=False)
    )
    static = {"static_shapes": True, "drop_remainder": True, "repeat": True}
    features, targets = next(iter(dataset(model, 8)))[:2]

    def inside(function):
        with strategy.scope():
            return function()

    attempts = {
        "generate": lambda: model.generate(["the film"]),
        "score": lambda: inside(lambda: model.score(["the film"], ["a"])),
        "unknown lengths": lambda: model.fit(
            dataset(model, 24, repeat=True), steps_per_epoch=1, verbose=0
        ),
        "evaluator": lambda: model.fit(
            dataset(model, 24, **static),
            steps_per_epoch=1,
            callbacks=[evaluator],
            verbose=0,
        ),
        "train_on_batch": lambda: model.train_on_batch(features, targets),
        "test_on_batch": lambda: model.test_on_batch(features, targets),
        "jit_compile": lambda: model.compile(jit_compile=True),
        "clipnorm": lambda: model.compile(Adafactor(0.3, clipnorm=1.0)),
        "clipvalue": lambda: model.compile(
            keras.optimizers.LossScaleOptimizer(Adafactor(0.3, clipvalue=1.0))
        ),
        "mesh": lambda: inside(lambda: build(vocabulary, *MESHES[4][0])),
        "micro_batches": lambda: language_model(strategy, micro_batches=2),
        "part of an epoch": lambda: (
            model.compile(
                Adafactor(0.3), TokenCrossentropy(), steps_per_execution=2
            ),
            model.fit(dataset(model, 24, **static), verbose=0),
        ),
    }
    said = {}
    for name, attempt in attempts.items():
        try:
            attempt()
        except ValueError as error:
            said[name] = str(error)
    return said


def main(vocabulary, folder, count):
    count = int(count)
    devices(count)
    if count == 1:
        whole = fit(vocabulary, tf.distribute.get_strategy())
        np.savez(f"{folder}/whole.npz", **whole)
    with np.load(f"{folder}/whole.npz") as file:
        expected = dict(file)
    strategy = tf.distribute.MirroredStrategy(
        [f"/cpu:{i}" for i in range(count)]
    )
    results = {"replicas": difference(fit(vocabulary, strategy), expected)}
    rows = rows_of_an_epoch(strategy)
    if count == 2:
        results["five steps an execution"] = difference(
            fit(vocabulary, strategy, steps_per_execution=5), expected
        )
    del expected["partial"]
    for mesh in MESHES[count]:
        found = fit(vocabulary, strategy, mesh)
        results[" ".join(mesh)] = difference(found, expected)
    output = {"differences": results, "rows": rows}
    if count == 2:
        output["banks"] = {
            mesh[0]: bank_of_a_bad_prompt(vocabulary, strategy, mesh)
            for mesh in BANK_MESHES
        }
        output["said"] = refusals(vocabulary, strategy)
        dropped = fit(vocabulary, strategy, MESHES[2][0], dropout_rate=0.2)
        output["dropped"] = dropped["losses"].tolist()
        output["kept"] = expected["losses"].tolist()
        one_device = tf.distribute.get_strategy()
        whole = fit(vocabulary, one_device, dtype="int8")
        del whole["partial"]
        split = fit(vocabulary, strategy, MESHES[2][0], dtype="int8")
        results["int8"] = difference(split, whole)
        results["language model"] = difference(
            language_model(strategy), language_model(one_device)
        )
    print(json.dumps(output))


if __name__ == "__main__":
    main(*sys.argv[1:])
