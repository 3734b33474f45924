"""Requests to the base of conftest.py, and the right answers to them."""

import numpy as np
import tensorflow as tf

from keras_prompt.models.text_batches import pad_rows

TEXTS = ["the film is a delight", "a dog barked", "dull", "the cast"]
TASKS = ["films", "dogs", "dogs", "films"]
TARGETS = ["positive", "a dog"]


def request(served, texts=TEXTS, tasks=TASKS):
    rows = served.alone["films"].target_rows(texts)
    return {
        "task": np.array(tasks, dtype=np.bytes_),
        "token_ids": pad_rows(rows),
        "token_lengths": np.array([len(row) for row in rows], np.int32),
    }


def scored(served, **changes):
    inputs = request(served) | changes
    rows = served.alone["films"].target_rows(TARGETS)
    count = len(inputs["token_ids"])
    lengths = np.array([[len(row) for row in rows]], np.int32)
    return inputs | {
        "target_ids": np.repeat(pad_rows(rows)[None], count, axis=0),
        "target_lengths": np.repeat(lengths, count, axis=0),
    }


def with_prompts(served):
    inputs = request(served)
    del inputs["task"]
    prompts = [served.alone[t].prompt.embeddings.numpy() for t in TASKS]
    lengths = [len(prompt) for prompt in prompts]
    padded = np.zeros((len(TASKS), max(lengths), 16), np.float32)
    for row, prompt in enumerate(prompts):
        padded[row, : len(prompt)] = prompt
    return inputs | {
        "prompt": padded,
        "prompt_lengths": np.array(lengths, np.int32),
    }


def decoded(served, output_ids):
    tokenizer = served.alone["films"].tokenizer
    return [tokenizer.decode(row) for row in output_ids]


def written_alone(served):
    return [
        served.alone[task].generate([text], max_length=6)[0]
        for text, task in zip(TEXTS, TASKS, strict=True)
    ]


def scored_alone(served):
    return np.concatenate(
        [
            served.alone[task].rank([text], TARGETS)
            for text, task in zip(TEXTS, TASKS, strict=True)
        ]
    )


def call(signatures, name, inputs):
    inputs = {key: tf.constant(value) for key, value in inputs.items()}
    outputs = signatures[name](**inputs)
    return {key: value.numpy() for key, value in outputs.items()}


REQUESTS = {
    "serving_default": request,
    "generate": request,
    "with_prompt": with_prompts,
    "score": scored,
}


def assert_stored_once(served):
    """The base's weights, in their own type, and little besides."""
    backbone = served.alone["films"].backbone
    weights = sum(w.numpy().nbytes for w in backbone.weights)
    data = served.base / "variables/variables.data-00000-of-00001"
    assert weights <= data.stat().st_size < weights + 20_000


def assert_right(served, name, found):
    assert found["status"].tolist() == [b"ok"] * 4
    if name == "score":
        expected = scored_alone(served)
        np.testing.assert_allclose(found["scores"], expected, 1e-5, 1e-5)
    else:
        assert found["output_ids"].dtype == np.int32
        assert decoded(served, found["output_ids"]) == written_alone(served)
