"""How much there is to compute, and how fast this machine multiplies."""

import statistics
import time
from collections.abc import Mapping

from speed_work import SIZES, Work


def step_operations(work: Work, size: Mapping[str, int] | None = None) -> float:
    """Floating-point operations of a training step on equal shapes.

    Matrix products only, two operations a multiply-and-add; of the backward
    pass the gradients of activations, since no weight has one. Below the
    first encoder layer nothing but the prompt has one: its products for the
    text's positions are counted nevertheless.

    Args:
        work: the batch.
        size: of the model; that of `work` by default.
    """
    size = size or SIZES[work.size]
    d_model, inner = size["d_model"], size["num_heads"] * size["d_kv"]
    source = work.prompt_length + work.input_length
    target = work.target_length
    projections = 4 * d_model * inner
    feed_forward = 3 * d_model * size["d_ff"]

    def core(queries: int, memory: int) -> int:
        return 2 * queries * memory * inner

    encoder = source * (projections + feed_forward) + core(source, source)
    decoder = (
        target * (projections + feed_forward)
        + core(target, target)
        + target * 2 * d_model * inner
        + source * 2 * d_model * inner
        + core(target, source)
    )
    once = (
        size["num_encoder_layers"] * encoder
        + size["num_decoder_layers"] * decoder
        + target * d_model * size["vocab_size"]
    )
    # Attention's two products have two gradients each, a projection one.
    second = size["num_encoder_layers"] * core(source, source) + size[
        "num_decoder_layers"
    ] * (core(target, target) + core(target, source))
    return 2.0 * work.batch_size * (2 * once + second)


def matrix_peak(work: Work, rounds: int = 20) -> float:
    """Operations a second in TensorFlow's product of a step's largest shapes.

    The median of some rounds, each a feed-forward layer's product.
    """
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(work.threads)
    size = SIZES[work.size]
    rows = work.batch_size * (work.prompt_length + work.input_length)
    left = tf.random.normal([rows, size["d_model"]])
    right = tf.random.normal([size["d_model"], 2 * size["d_ff"]])
    multiply = tf.function(lambda: left @ right)
    multiply()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        multiply().numpy()
        times.append(time.perf_counter() - start)
    count = 2.0 * rows * size["d_model"] * 2 * size["d_ff"]
    return count / statistics.median(times)
