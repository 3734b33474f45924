"""A product with a kernel of whole numbers, which stays in 8 bits in memory.

TensorFlow has no such product for any device, so the kernel is widened to the
activations' type first. That is done within the operation, once it is its
turn: a widened kernel never outlives its product, neither until the backward
pass, which widens it again, nor, where all operations of a graph are ready at
the start, because it could be made early.
"""

import functools
from typing import Any

import tensorflow as tf

from keras_prompt.models.mesh import MeshTensor, mtf
from keras_prompt.types import Tensor


def int8_einsum(x: MeshTensor, kernel: MeshTensor) -> MeshTensor:
    """Multiplies, and sums over every dimension that the two share.

    Args:
        x: floating.
        kernel: int8; no gradient flows to it.

    Returns:
        Of the type of `x`: its other dimensions, then the kernel's others.
    """
    shared = set(x.shape.dims) & set(kernel.shape.dims)
    kept = [d for d in (*x.shape, *kernel.shape) if d not in shared]
    return _Int8Einsum(x, kernel, kept).outputs[0]


class _Int8Einsum(mtf.Operation):  # type: ignore[name-defined]
    """`mtf.EinsumOperation` for a float and an int8 tensor."""

    def __init__(
        self, x: MeshTensor, kernel: MeshTensor, dimensions: list[Any]
    ) -> None:
        super().__init__([x, kernel], name="int8_einsum")
        self._outputs = [mtf.Tensor(self, mtf.Shape(dimensions), x.dtype)]

    def gradient(self, grad_ys: list[MeshTensor]) -> list[MeshTensor | None]:
        x, kernel = self.inputs
        back = _Int8Einsum(grad_ys[0], kernel, x.shape.dims)
        return [back.outputs[0], None]

    def lower(self, lowering: Any) -> None:
        x, kernel = self.inputs
        (output,) = self.outputs
        implementation = lowering.mesh_impl(self)
        product = implementation.slicewise(
            functools.partial(_product, *_indices(x, kernel, output)),
            lowering.tensors[x],
            lowering.tensors[kernel],
        )
        axes = [
            implementation.tensor_dimension_to_mesh_axis(dimension)
            for dimension in x.shape
            if dimension not in output.shape.dims
        ]
        axes = [axis for axis in axes if axis is not None]
        if axes:
            product = mtf.LazyAllreduceSum(implementation, product, axes)
        lowering.set_tensor_lowering(output, product)


def _indices(*tensors: MeshTensor) -> list[str]:
    """The tensors' dimensions as letters, the same for the same."""
    letters: dict[str, str] = {}
    for tensor in tensors:
        for dimension in tensor.shape:
            letters.setdefault(dimension.name, chr(ord("a") + len(letters)))
    return ["".join(letters[d.name] for d in t.shape) for t in tensors]


def _product(
    x_indices: str, kernel_indices: str, indices: str, x: Tensor, kernel: Tensor
) -> Tensor:
    """One processor's slice of the product."""

    @tf.custom_gradient
    def multiply(x: Tensor) -> Any:
        def gradient(upstream: Tensor) -> Tensor:
            return tf.einsum(
                f"{indices},{kernel_indices}->{x_indices}",
                upstream,
                _widened(kernel, upstream),
            )

        product = tf.einsum(
            f"{x_indices},{kernel_indices}->{indices}", x, _widened(kernel, x)
        )
        return product, gradient

    return multiply(x)


def _widened(kernel: Tensor, x: Tensor) -> Tensor:
    """The kernel in the type of `x`, not before `x` is there."""
    with tf.control_dependencies([x]):
        return tf.cast(kernel, x.dtype)
