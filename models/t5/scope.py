"""What every block needs while a Mesh TensorFlow graph is being built."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from keras_prompt.models.mesh import MeshTensor, mtf
from keras_prompt.models.mesh.choice import Lowering
from keras_prompt.models.mesh.int8_einsum import int8_einsum
from keras_prompt.models.mesh.operations import ResidentWeight, slicewise
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.dropout import DropoutNoise
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
        dropout: of this step; none outside training.
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
        dropout: DropoutNoise | None = None,
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
        self._dropout = dropout
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

    def import_bias(self, mask_bias: Tensor) -> MeshTensor:
        """A bias of `masks` enters the graph; an axis of 1 broadcasts.

        The batch has entered before.
        """
        names = ["batch", "length", "memory_length"]
        rows = self._rows()
        # One row may be a replica's, of a batch of several.
        is_one_row = isinstance(rows, int) and rows == 1
        for axis, size in enumerate(mask_bias.shape):
            if size == 1 and not (axis == 0 and is_one_row):
                names[axis] = f"broadcast_{names[axis]}"
        return self.import_tensor(mask_bias, names)

    def dropout(self, x: MeshTensor) -> MeshTensor:
        """Drops units of (batch, length, width), alike at every position.

        One mask for all positions of a row is what Mesh-TF's and T5X's T5 do
        (`broadcast_dims=(-2,)`).
        """
        if self._dropout is None:
            return x
        width = x.shape.dims[-1]
        return slicewise(
            lambda slice_, kept: slice_ * kept[:, None],
            [x, self._kept({width.name: width.size}, x.dtype)],
            x.shape.dims,
            splittable=["batch", "d_model", "d_ff"],
        )

    def dropout_attention(
        self, values: MeshTensor, mask_bias: MeshTensor
    ) -> MeshTensor:
        """Drops attention weights, alike for every query, as T5 does.

        A weight that is scaled alike for every query scales what it weighs:
        so this scales the values, (batch, memory_length, heads, d_kv).
        (T5X: `broadcast_dropout`; Mesh-TF: `dropout_broadcast_dims`.)

        Args:
            values: what attention mixes.
            mask_bias: of the same memory, from `import_bias`.
        """
        if self._dropout is None:
            return values
        length = self._size(mask_bias, -1)
        sizes = {"memory_length": length, "heads": self.heads.size}
        return slicewise(
            lambda slice_, kept: slice_ * kept[..., None],
            [values, self._kept(sizes, values.dtype)],
            values.shape.dims,
            splittable=["batch", "heads"],
        )

    def _kept(
        self, sizes: Mapping[str, int | Tensor], dtype: tf.DType
    ) -> MeshTensor:
        """The factors of (batch, *sizes) units.

        Drawn whole, whatever the layout: every mesh of one process drops the
        same units. A strategy's replica draws for its own rows.
        """
        assert self._dropout is not None
        noise = self._dropout.draw([self._rows(), *sizes.values()], dtype)
        return self.import_tensor(noise, ["batch", *sizes])

    def lower(self, outputs: Mapping[str, MeshTensor]) -> dict[str, Tensor]:
        """Runs the graph and hands back TensorFlow tensors."""
        return self._lowering.lower(
            self.graph, self.mesh, self._entered, outputs
        )

    def _rows(self) -> int | Tensor:
        """How many rows the caller's batch has."""
        for _, imported in self._entered:
            if imported.shape.dims[0].name == "batch":
                return self._size(imported, 0)
        raise AssertionError("no batch has entered the graph")

    def _size(self, imported: MeshTensor, axis: int) -> int | Tensor:
        """An axis of the caller's tensor that this one was imported of."""
        tensor = next(t for t, i in self._entered if i is imported)
        size = tensor.shape[axis]
        return tf.shape(tensor)[axis] if size is None else int(size)
