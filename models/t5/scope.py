"""What every block needs while a Mesh TensorFlow graph is being built."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_prompt.models.mesh import MeshTensor, mtf
from keras_prompt.models.mesh.choice import Lowering
from keras_prompt.models.mesh.int8_einsum import int8_einsum
from keras_prompt.models.mesh.operations import ResidentWeight, slicewise
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.int8 import scale_name, scale_table
from keras_prompt.models.t5.variables import weight_table
from keras_prompt.types import Tensor


class Scope:
    """One graph under construction: its mesh, weights and activation type.

    Args:
        config: the T5's sizes.
        lowering: where the graph runs: `Local`, `Placement` or `Replica`.
        read_weight: gives a weight's slices by its Mesh-TF name, in the type
            asked for; or a quantised one's in int8, and those of its scales by
            the scales' name.
        compute_dtype: of the activations, and of weights by default.
        is_frozen: whether weights let no gradient through.
        rematerialize: whether the largest activations are computed a second
            time for the gradient instead of being kept for it.
        dropout_rate: 0 outside training. The paper's code used 0.1.
        dropout_seed: int32 (2,), which makes the noise reproducible; needed
            when the rate is not 0.
    """

    def __init__(
        self,
        config: T5Config,
        lowering: Lowering,
        read_weight: Callable[[str, tf.DType], list[Tensor]],
        *,
        compute_dtype: tf.DType,
        is_frozen: bool,
        rematerialize: bool = False,
        dropout_rate: float = 0.0,
        dropout_seed: Tensor | None = None,
    ) -> None:
        self.config = config
        self.graph = mtf.Graph()
        self.mesh = mtf.Mesh(self.graph, "mesh")
        self._lowering = lowering
        self._entered: list[tuple[Tensor, MeshTensor]] = []
        self._read_weight = read_weight
        self._compute_dtype = compute_dtype
        self._is_frozen = is_frozen
        self._rematerialize = rematerialize
        self._dropout_rate = dropout_rate
        self._dropout_seed = dropout_seed
        self._dropout_sites = itertools.count()
        self._table = weight_table(config) | scale_table(config)
        self._weights: dict[tuple[str, tf.DType], MeshTensor] = {}
        self.d_model = mtf.Dimension("d_model", config.d_model)
        self.heads = mtf.Dimension("heads", config.num_heads)

    def weight(self, name: str, dtype: tf.DType | None = None) -> MeshTensor:
        """A weight of the table; it enters the graph once a type."""
        key = (name, dtype or self._compute_dtype)
        if key not in self._weights:
            self._weights[key] = ResidentWeight(
                self.mesh,
                self._read_weight(*key),
                mtf.Shape([mtf.Dimension(*d) for d in self._table[name]]),
                name,
                self._is_frozen,
            ).outputs[0]
        return self._weights[key]

    def project(self, x: MeshTensor, name: str) -> MeshTensor:
        """`x` times a kernel, summed over every dimension that they share.

        Args:
            x: of the type that the product is taken and returned in.
            name: of the kernel.
        """
        kernel = self.weight(name, x.dtype)
        if kernel.dtype == tf.int8:
            scale = self.weight(scale_name(name), x.dtype)
            return int8_einsum(x, kernel) * scale
        shared = [d for d in kernel.shape if d in x.shape.dims]
        return mtf.einsum([x, kernel], reduced_dims=shared)

    def recomputed(self, function: Callable[..., Tensor]) -> Any:
        """A function whose inner tensors need not wait for the gradient."""
        if not self._rematerialize:
            return function
        return tf.recompute_grad(function)

    def import_tensor(self, tensor: Tensor, names: Sequence[str]) -> MeshTensor:
        """A TensorFlow tensor enters the graph with named dimensions."""
        entering = self._lowering.enter(tensor, names)
        dimensions = [
            self._lowering.dimension(name, size)
            for name, size in zip(names, entering.shape, strict=True)
        ]
        imported = mtf.import_tf_tensor(
            self.mesh, entering, mtf.Shape(dimensions)
        )
        self._entered.append((tensor, imported))
        return imported

    def import_mask(self, mask: Tensor) -> MeshTensor:
        """A mask of `masks` enters the graph; an axis of 1 broadcasts.

        The batch has entered before.
        """
        names = ["batch", "length", "memory_length"]
        rows = self._rows()
        # One row may be a replica's, of a batch of several.
        is_one_row = isinstance(rows, int) and rows == 1
        for axis, size in enumerate(mask.shape):
            if size == 1 and not (axis == 0 and is_one_row):
                names[axis] = f"broadcast_{names[axis]}"
        return self.import_tensor(mask, names)

    def dropout(self, x: MeshTensor) -> MeshTensor:
        """Drops units of (batch, length, width), alike at every position.

        One mask for all positions of a row is what Mesh-TF's and T5X's T5 do
        (`broadcast_dims=(-2,)`).
        """
        if not self._dropout_rate:
            return x
        site = next(self._dropout_sites)
        keep = 1.0 - self._dropout_rate
        # Drawn whole, whatever the layout: every mesh drops the same units.
        noise = tf.random.stateless_uniform(
            [self._rows(), x.shape.dims[-1].size],
            self._dropout_seed + tf.constant([0, site]),
        )
        kept = self.import_tensor(
            tf.cast(noise < keep, x.dtype) / tf.cast(keep, x.dtype),
            ["batch", x.shape.dims[-1].name],
        )
        return slicewise(
            lambda slice_, kept: slice_ * kept[:, None],
            [x, kept],
            x.shape.dims,
            splittable=["batch", "d_model", "d_ff"],
        )

    def lower(self, outputs: Mapping[str, MeshTensor]) -> dict[str, Tensor]:
        """Runs the graph and hands back TensorFlow tensors."""
        return self._lowering.lower(
            self.graph, self.mesh, self._entered, outputs
        )

    def _rows(self) -> int | Tensor:
        """How many rows the caller's batch has."""
        for tensor, imported in self._entered:
            if imported.shape.dims[0].name == "batch":
                rows = tensor.shape[0]
                return tf.shape(tensor)[0] if rows is None else int(rows)
        raise AssertionError("no batch has entered the graph")


def next_dropout_seed(seeds: keras.random.SeedGenerator) -> Tensor:
    """Int32 (2,); every replica of a strategy drops other units."""
    seed = tf.cast(seeds.next(), tf.int32)
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return seed
    number = tf.cast(replica.replica_id_in_sync_group, tf.int32)
    return seed + tf.stack([number * 65_536, 0])
