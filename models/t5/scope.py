"""What every block needs while a Mesh TensorFlow graph is being built."""

import itertools
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from keras_prompt.models.mesh import MeshTensor, mtf
from keras_prompt.models.mesh.local import LocalLowering, dimension
from keras_prompt.models.mesh.operations import ResidentWeight, slicewise
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.variables import mesh_shape, weight_table
from keras_prompt.types import Tensor


class Scope:
    """One graph under construction: its mesh, weights and activation type.

    Args:
        config: the T5's sizes.
        read_weight: gives a weight by its Mesh-TF name, in the type asked for.
        compute_dtype: of the activations, and of weights by default.
        is_frozen: whether weights let no gradient through.
        dropout_rate: 0 outside training. The paper's code used 0.1.
        dropout_seed: int32 (2,), which makes the noise reproducible; needed
            when the rate is not 0.
    """

    def __init__(
        self,
        config: T5Config,
        read_weight: Callable[[str, tf.DType], Tensor],
        *,
        compute_dtype: tf.DType,
        is_frozen: bool,
        dropout_rate: float = 0.0,
        dropout_seed: Tensor | None = None,
    ) -> None:
        self.config = config
        self.graph = mtf.Graph()
        self.mesh = mtf.Mesh(self.graph, "mesh")
        self._read_weight = read_weight
        self._compute_dtype = compute_dtype
        self._is_frozen = is_frozen
        self._dropout_rate = dropout_rate
        self._dropout_seed = dropout_seed
        self._dropout_sites = itertools.count()
        self._table = weight_table(config)
        self._weights: dict[tuple[str, tf.DType], MeshTensor] = {}
        self.d_model = mtf.Dimension("d_model", config.d_model)
        self.heads = mtf.Dimension("heads", config.num_heads)
        self.d_kv = mtf.Dimension("d_kv", config.d_kv)
        self.d_ff = mtf.Dimension("d_ff", config.d_ff)
        self.vocab = mtf.Dimension("vocab", config.vocab_size)

    def weight(self, name: str, dtype: tf.DType | None = None) -> MeshTensor:
        """A weight of the table; it enters the graph once a type."""
        key = (name, dtype or self._compute_dtype)
        if key not in self._weights:
            self._weights[key] = ResidentWeight(
                self.mesh,
                self._read_weight(*key),
                mesh_shape(self._table[name]),
                name,
                self._is_frozen,
            ).outputs[0]
        return self._weights[key]

    def import_tensor(self, tensor: Tensor, names: Sequence[str]) -> MeshTensor:
        """A TensorFlow tensor enters the graph with named dimensions."""
        dimensions = [
            dimension(name, size)
            for name, size in zip(names, tensor.shape, strict=True)
        ]
        return mtf.import_tf_tensor(self.mesh, tensor, mtf.Shape(dimensions))

    def import_mask(self, mask: Tensor) -> MeshTensor:
        """A mask of `masks` enters the graph; an axis of 1 broadcasts."""
        names = ("batch", "length", "memory_length")
        return self.import_tensor(
            mask,
            [
                f"broadcast_{name}" if size == 1 else name
                for name, size in zip(names, mask.shape, strict=True)
            ],
        )

    def dropout(self, x: MeshTensor) -> MeshTensor:
        """Drops units of (batch, length, width), alike at every position.

        One mask for all positions of a row is what Mesh-TF's and T5X's T5 do
        (`broadcast_dims=(-2,)`).
        """
        if not self._dropout_rate:
            return x
        site = next(self._dropout_sites)

        def drop(slice_: Tensor) -> Tensor:
            shape = tf.shape(slice_)
            noise_shape = tf.concat([shape[:1], [1], shape[2:]], axis=0)
            keep = 1.0 - self._dropout_rate
            noise = tf.random.stateless_uniform(
                noise_shape, self._dropout_seed + tf.constant([0, site])
            )
            mask = tf.cast(noise < keep, slice_.dtype)
            return slice_ * mask / tf.cast(keep, slice_.dtype)

        return slicewise(drop, [x], x.shape.dims, splittable=[])

    def lower(self, outputs: Mapping[str, MeshTensor]) -> dict[str, Tensor]:
        """Runs the graph and hands back TensorFlow tensors."""
        lowering = LocalLowering(self.graph, self.mesh)
        return {
            name: lowering.export_to_tf_tensor(tensor)
            for name, tensor in outputs.items()
        }
