"""The arithmetic that speed is compared with."""

import dataclasses

import pytest
import tensorflow as tf
from arithmetic import step_operations
from speed_work import SIZES, Work

from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config

WORK = Work(
    folder="",
    task="",
    data_dir="",
    size="small",
    prompt_length=3,
    batch_size=2,
    input_length=7,
    target_length=4,
    rows=0,
    steps=1,
    threads=1,
)
SIZE = {
    "vocab_size": 50,
    "d_model": 12,
    "d_kv": 5,
    "d_ff": 20,
    "num_heads": 3,
    "num_encoder_layers": 2,
    "num_decoder_layers": 3,
}


def needed(graph):
    """The operations that run: the gradient of a frozen weight does not."""
    found, left = set(), [x.op for x in graph.outputs]
    while left:
        op = left.pop()
        if op not in found:
            found.add(op)
            left += [x.op for x in op.inputs]
    return found


def product_operations(graph):
    """Of the matrix products that run, from their shapes."""
    total = 0
    for op in needed(graph):
        if op.type == "Einsum":
            equation = op.get_attr("equation").decode()
            sizes = {}
            for letters, x in zip(
                equation.partition("->")[0].split(","), op.inputs, strict=True
            ):
                sizes |= dict(zip(letters, x.shape, strict=True))
            product = 2
            for size in sizes.values():
                product *= size
            total += product
        elif op.type.startswith("BatchMatMul"):
            left, _ = op.inputs
            shared = -2 if op.get_attr("adj_x") else -1
            total += 2 * left.shape[shared] * op.outputs[0].shape.num_elements()
    return total


def test_a_step_s_operations_are_those_of_its_graph():
    backbone = MeshT5Backbone(T5Config(**SIZE))
    length = WORK.prompt_length + WORK.input_length

    @tf.function(autograph=False)
    def gradient(embedded, ids):
        with tf.GradientTape() as tape:
            tape.watch(embedded)
            mask = tf.ones([WORK.batch_size, length], bool)
            loss = tf.reduce_sum(tf.sin(backbone(embedded, mask, ids)))
        return tape.gradient(loss, embedded)

    graph = gradient.get_concrete_function(
        tf.TensorSpec([WORK.batch_size, length, 12]),
        tf.TensorSpec([WORK.batch_size, WORK.target_length], tf.int32),
    ).graph
    assert step_operations(WORK, SIZE) == pytest.approx(
        product_operations(graph), rel=0.05
    )


def test_operations_grow_with_the_batch_alone_in_proportion():
    twice = dataclasses.replace(WORK, batch_size=4)
    assert step_operations(twice) == 2 * step_operations(WORK)
    assert set(SIZES["small"]) == set(SIZE)
