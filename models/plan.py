"""What a prompt's training takes of each device, from sizes alone.

Nothing is allocated and TensorFlow is not imported. Weights and optimizer
state are exact. Activations are the tensors that back-propagation through the
frozen stack needs, which is fewer than full training needs: no gradient of a
weight, so no input of a projection. `tests/unit/models/test_plan.py` compares
with a measured step.
"""

import dataclasses
import math
from collections.abc import Iterator

from keras_prompt.models.layout import Layout, parse_layout
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.int8 import scale_name, scale_table
from keras_prompt.models.t5.variables import (
    TABLE,
    dimension_sizes,
    weight_table,
)

# Left to the runtime: its own buffers, code, and the holes between tensors.
_USABLE = 0.9
_WEIGHT_BYTES = {"float32": 4, "bfloat16": 2, "mixed_bfloat16": 4}
_ACTIVATION_BYTES = {
    "float32": 4,
    "bfloat16": 2,
    "mixed_bfloat16": 2,
    "int8": 4,
}
# Gate, the share of it that passes, and what GELU multiplies.
_GATED_GELU_TENSORS = 3
# Logits, their probabilities, the gradient, and the z-loss's.
_LOSS_TENSORS = 4


@dataclasses.dataclass(frozen=True)
class Batch:
    """What one step is given.

    Attributes:
        rows: of the whole batch.
        input_length: tokens of an input, without the prompt.
        target_length: tokens of a target.
        prompt_length: P.
    """

    rows: int = 32
    input_length: int = 512
    target_length: int = 16
    prompt_length: int = 100


@dataclasses.dataclass(frozen=True)
class Plan:
    """Bytes on each device.

    Attributes:
        mesh_shape: as `from_preset` takes it.
        layout: as `from_preset` takes it.
        weights: of the frozen model.
        activations: at their peak, in a training step.
        state: the prompt, its gradient and its optimizer slots.
        fits: whether all three leave a tenth of the memory free.
    """

    mesh_shape: str
    layout: str
    weights: int
    activations: int
    state: int
    fits: bool

    @property
    def total(self) -> int:
        """All bytes of one device."""
        return self.weights + self.activations + self.state


def plan(
    config: T5Config,
    devices: int,
    memory: int,
    batch: Batch,
    *,
    dtype: str = "bfloat16",
    rematerialize: bool = False,
) -> Plan:
    """The mesh that splits the model least and fits, or the smallest one.

    Splitting the batch costs no communication between layers, splitting the
    model costs sums after each; so the batch is split as far as memory lets.

    Args:
        config: the T5's sizes.
        devices: how many there are.
        memory: bytes of one.
        batch: of one step.
        dtype: "float32", "bfloat16", "mixed_bfloat16" or "int8".
        rematerialize: as `from_preset` takes it.
    """
    plans = [
        _plan_mesh(config, mesh, memory, batch, dtype, rematerialize)
        for mesh in _meshes(config, devices)
    ]
    fitting = [found for found in plans if found.fits]
    return fitting[0] if fitting else min(plans, key=lambda p: p.total)


def weight_bytes(config: T5Config, layout: Layout, dtype: str) -> int:
    """Bytes of the weights that one device holds."""
    scales = scale_table(config) if dtype == "int8" else {}
    size = 0
    for name, dimensions in (weight_table(config) | scales).items():
        is_int8 = scale_name(name) in scales
        bytes_each = 1 if is_int8 else _WEIGHT_BYTES.get(dtype, 4)
        size += bytes_each * math.prod(layout.slice_shape(dimensions))
    return size


def activation_bytes(
    config: T5Config,
    layout: Layout,
    batch: Batch,
    dtype: str,
    rematerialize: bool,
) -> int:
    """Bytes of activations on one device at a training step's peak."""
    rows = -(-batch.rows // layout.parts("batch"))
    source = batch.prompt_length + batch.input_length
    target = batch.target_length
    wide = config.d_model // layout.parts("d_model")
    heads = config.num_heads // layout.parts("heads")
    projected = heads * config.d_kv
    inner = config.d_ff // layout.parts("d_ff")
    size = _ACTIVATION_BYTES[dtype]
    # Softmax is float32; where activations are not, its result is kept twice.
    per_weight = 4 if size == 4 else 4 + size
    is_gated = config.feed_forward == "gated-gelu"
    inner_tensors = _GATED_GELU_TENSORS if is_gated else 1

    def norm(length: int) -> int:
        return 4 * rows * length * wide

    def attention_weights(queries: int, memory: int) -> int:
        return per_weight * rows * heads * queries * memory

    def attention(queries: int, memory: int) -> int:
        kept = size * rows * projected * (queries + 2 * memory)
        if not rematerialize:  # and what the weights mixed
            kept += attention_weights(queries, memory)
            kept += size * rows * projected * queries
        return norm(queries) + kept

    def feed_forward(length: int) -> int:
        tensors = 2 if rematerialize and is_gated else inner_tensors
        return norm(length) + size * rows * length * inner * tensors

    encoder = attention(source, source) + feed_forward(source)
    decoder = (
        attention(target, target)
        + attention(target, source)
        + feed_forward(target)
    )
    kept = (
        config.num_encoder_layers * encoder
        + config.num_decoder_layers * decoder
        + norm(source)
        + norm(target)
    )
    # While one layer's gradient is made: what it recomputes and produces.
    working = max(
        3 * attention_weights(source, source),
        2 * size * rows * source * inner * inner_tensors,
    )
    # Whole, whatever the layout: they leave the mesh for the loss. Replicas of
    # a strategy have their own rows' only.
    logits = 4 * batch.rows * target * config.vocab_size * _LOSS_TENSORS
    return kept + working + logits + _cast_bytes(config, layout, dtype)


def _cast_bytes(config: T5Config, layout: Layout, dtype: str) -> int:
    """Bytes of weights in another type than they are stored in.

    Products keep what they have multiplied for their gradient: all kernels in
    bfloat16 where only they are stored wider, and the output layer, whose
    product is float32, where it is stored narrower. An int8 kernel is widened
    for the moment of its product only; the output layer is the largest.
    """
    output = "decoder/logits/kernel"
    is_output = {TABLE if config.is_tied else output}
    size = 0
    for name, dimensions in weight_table(config).items():
        count = math.prod(layout.slice_shape(dimensions))
        if dtype == "mixed_bfloat16" and name not in (TABLE, output):
            size += 2 * count
        if dtype in ("bfloat16", "int8") and name in is_output:
            size += 4 * count
    return size


def state_bytes(config: T5Config, batch: Batch) -> int:
    """Bytes of the prompt, its gradient and Adafactor's slots."""
    rows, columns = batch.prompt_length, config.d_model
    is_factored = min(rows, columns) >= 128
    slots = rows + columns if is_factored else rows * columns
    return 4 * (2 * rows * columns + slots)


def _plan_mesh(
    config: T5Config,
    mesh: tuple[str, str],
    memory: int,
    batch: Batch,
    dtype: str,
    rematerialize: bool,
) -> Plan:
    layout = parse_layout(*mesh, dimension_sizes(config))
    weights = weight_bytes(config, layout, dtype)
    activations = activation_bytes(config, layout, batch, dtype, rematerialize)
    state = state_bytes(config, batch)
    fits = weights + activations + state <= _USABLE * memory
    return Plan(*mesh, weights, activations, state, fits)


def _meshes(config: T5Config, devices: int) -> Iterator[tuple[str, str]]:
    """Meshes of so many devices, those that split the model least first."""
    sizes = dimension_sizes(config)
    splittable = ("heads", "d_ff", "vocab")
    most = max(sizes[dimension] for dimension in splittable)
    for model in range(1, min(devices, most) + 1):
        if devices % model:
            continue
        rows = devices // model
        cut = [d for d in splittable if sizes[d] % model == 0]
        if not cut and model > 1:
            continue
        mesh, layout = [], []
        if rows > 1:
            mesh.append(f"batch:{rows}")
            layout.append("batch:batch")
        if model > 1:
            mesh.append(f"model:{model}")
            layout += [f"{dimension}:model" for dimension in cut]
        yield ";".join(mesh), ";".join(layout)
