"""The same training on one, two and four replicas, in a process of its own.

`python replica_run.py VOCABULARY` prints one JSON object.
"""

import json
import sys

import numpy as np
import tensorflow as tf
from mesh_run import build, devices, difference

STEPS = 20


def dataset(model, batch_size=8, **options):
    """Targets of very unlike lengths, so that replicas have unlike shares."""
    from keras_prompt.tasks.pipeline import make_dataset
    from keras_prompt.tasks.sources import RowsSource
    from keras_prompt.tasks.task import Task

    rows = [
        {
            "inputs": f"the film {'is dull ' * (i % 4)}",
            "targets": "a film " * (1 + 3 * (i % 3)),
        }
        for i in range(20)
    ]
    task = Task("toy", RowsSource({"train": rows}), closed=False)
    return make_dataset(
        task,
        "train",
        model.tokenizer,
        target_length=32,
        batch_size=batch_size,
        **options,
    )


def fit(vocabulary, strategy, *, steps_per_execution=1, **options):
    from keras_prompt.losses import TokenCrossentropy
    from keras_prompt.optimizers import Adafactor

    with strategy.scope():
        model = build(vocabulary, **options)
        data = dataset(model, repeat=True)
        model.compile(
            optimizer=Adafactor(0.3),
            loss=TokenCrossentropy(),
            steps_per_execution=steps_per_execution,
        )
    losses = model.fit(
        data, epochs=4, steps_per_epoch=STEPS // 4, verbose=0
    ).history["loss"]
    assert int(model.optimizer.iterations.numpy()) == STEPS
    return {
        "losses": np.array(losses),
        "prompt": model.prompt.embeddings.numpy(),
        "evaluated": np.array(model.evaluate(dataset(model), verbose=0)),
        "predicted": model.predict(
            dataset(model, static_shapes=True), verbose=0
        ),
    }


def main(vocabulary):
    devices(4)
    expected = fit(vocabulary, tf.distribute.get_strategy())
    results = {}
    for count in (1, 2, 4):
        strategy = tf.distribute.MirroredStrategy(
            [f"/cpu:{i}" for i in range(count)]
        )
        found = fit(vocabulary, strategy)
        results[f"{count}"] = difference(found, expected)
        print(count, results, file=sys.stderr)
        if count == 2:
            found = fit(vocabulary, strategy, steps_per_execution=5)
            results["2, five steps an execution"] = difference(found, expected)
    print(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
