"""The same model on one device and on meshes of eight logical ones.

Devices have to be made before TensorFlow starts, so this is a process of its
own: `python mesh_run.py VOCABULARY FOLDER` prints one JSON object.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

FULL = "heads:model;d_ff:model;vocab:model"
MESHES = {
    f"{mesh} {layout}": (mesh, layout)
    for mesh, layout in (
        ("model:2", "heads:model"),
        ("model:2", "d_ff:model"),
        ("model:2", "vocab:model"),
        ("model:2", "d_model:model"),
        ("rows:2", "batch:rows"),
        ("model:4", FULL),
        ("model:8", FULL),
        ("batch:2;model:2", "batch:batch;" + FULL),
        ("model:2;rows:4", "batch:rows;" + FULL),
        ("width:2;model:2", "d_model:width;" + FULL),
        ("rows:2;width:4", "batch:rows;d_model:width"),
    )
}
# Where text is generated and a prompt trained as well, which take longest.
LONGER = (
    "batch:2;model:2 batch:batch;heads:model;d_ff:model;vocab:model",
    "width:2;model:2 d_model:width;heads:model;d_ff:model;vocab:model",
)
TEXTS = ["the film is a delight", "a dull film", "the cast"]


def devices(count):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * count
    )


def build(vocabulary, mesh_shape="", layout="", **options):
    from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
    from keras_prompt.models.t5.backbone import MeshT5Backbone
    from keras_prompt.models.t5.config import T5Config
    from keras_prompt.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_file(vocabulary)
    rows = -(-tokenizer.vocabulary_size // 8) * 8
    config = T5Config(rows, 16, 4, 32, 8, 2, 1)
    backbone = MeshT5Backbone(
        config, seed=3, mesh_shape=mesh_shape, layout=layout, **options
    )
    model = PromptTunedT5(backbone, tokenizer, prompt_length=3)
    model.initialize_prompt(lambda table, *_: 2 * table[5:8])
    return model


def features(model):
    from keras_prompt.models.text_batches import pad_rows, text_batches

    x = next(text_batches(TEXTS, model.tokenizer, 3, 64)).features
    encode = model.tokenizer.encode
    y = pad_rows([[*encode(t), 1] for t in ("a", "a delight", "the film")])
    x["decoder_token_ids"] = np.pad(y[:, :-1], [(0, 0), (1, 0)])
    return {name: tf.constant(value) for name, value in x.items()}, y


def measure(model):
    """Logits, loss, gradient, text; traced with unknown batch and length."""
    from keras_prompt.losses import TokenCrossentropy

    x, y = features(model)
    spec = {
        name: tf.TensorSpec([None, None], value.dtype)
        for name, value in x.items()
    }

    @tf.function(
        input_signature=[spec, tf.TensorSpec([None, None], tf.int32)],
        autograph=False,
    )
    def step(x, y):
        with tf.GradientTape() as tape:
            logits = model(x, training=True)
            loss = TokenCrossentropy()(y, logits)
        return logits, loss, tape.gradient(loss, model.prompt.embeddings.value)

    logits, loss, gradient = step(x, y)
    return {
        "logits": logits.numpy(),
        "loss": loss.numpy(),
        "gradient": gradient.numpy(),
    }


def text(model):
    return [
        model.generate(TEXTS, max_length=5, sampler=sampler)
        for sampler in ("greedy", "beam")
    ]


def train(model, folder):
    """Three epochs of `fit`, with dropout, batches of unlike lengths."""
    from keras_prompt.export.prompt import export_prompt, load_prompt
    from keras_prompt.losses import TokenCrossentropy
    from keras_prompt.optimizers import Adafactor
    from keras_prompt.tasks.pipeline import make_dataset
    from keras_prompt.tasks.sources import RowsSource
    from keras_prompt.tasks.task import Task

    rows = [
        {"inputs": f"the film {'is dull ' * (i % 4)}", "targets": "a film"}
        for i in range(11)
    ]
    task = Task("toy", RowsSource({"train": rows}), labels=("a film",))
    data = make_dataset(
        task, "train", model.tokenizer, target_length=8, batch_size=4
    )
    model.compile(optimizer=Adafactor(0.3), loss=TokenCrossentropy())
    losses = model.fit(data, epochs=2, verbose=0).history["loss"]
    export_prompt(model, folder)
    load_prompt(model, folder)
    return {
        "losses": np.array(losses),
        "evaluated": np.array(model.evaluate(data, verbose=0)),
        "prompt": model.prompt.embeddings.numpy(),
        "scores": model.score(TEXTS, ["a", "the film", "dull"]),
        "predicted": model.predict(features(model)[0], verbose=0),
    }


def refusal(model):
    try:
        model.compile(jit_compile=True)
    except ValueError as error:
        return str(error)


def difference(found, expected):
    """The largest, over the largest number there is."""
    return {
        name: float(np.abs(found[name] - value).max() / np.abs(value).max())
        for name, value in expected.items()
    }


def bytes_per_device(backbone):
    held = {}
    for weight in backbone.weights:
        for piece in getattr(weight, "slices", []):
            size = int(np.prod(piece.shape)) * piece.dtype.size
            held[piece.device] = held.get(piece.device, 0) + size
    return held


def main(vocabulary, folder):
    devices(8)
    whole = build(vocabulary)
    expected, written = measure(whole), text(whole)
    assert any(map(any, written)), "a model that writes nothing shows nothing"
    trained = train(build(vocabulary, dropout_rate=0.1), f"{folder}/one device")
    in_int8 = measure(build(vocabulary, dtype="int8"))
    fingerprint = whole.backbone.fingerprint()
    results = {}
    for name, (mesh, layout) in MESHES.items():
        model = build(vocabulary, mesh, layout)
        backbone = model.backbone
        results[name] = {
            "difference": difference(measure(model), expected),
            "fingerprint": backbone.fingerprint() == fingerprint,
            "bytes": bytes_per_device(backbone),
            "report": model.parameter_report() == whole.parameter_report(),
            "counts": model.count_params() == whole.count_params(),
            "table": bool(
                (
                    backbone.embedding_table()
                    == whole.backbone.embedding_table()
                ).all()
            ),
        }
        if name in LONGER:
            results[name]["text"] = text(model) == written
            quantised = build(vocabulary, mesh, layout, dtype="int8")
            results[name]["int8"] = difference(measure(quantised), in_int8)
            learner = build(
                vocabulary,
                mesh,
                layout,
                dropout_rate=0.1,
                rematerialize=True,
            )
            results[name]["difference"] |= difference(
                train(learner, f"{folder}/{name}"), trained
            )
            results[name]["said"] = refusal(model)
    print(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
