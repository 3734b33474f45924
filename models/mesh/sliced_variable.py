"""A frozen weight of which every device holds its slice and no more."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from keras_prompt.models.layout import Layout
from keras_prompt.models.mesh import mtf
from keras_prompt.types import FloatArray, Int8Array, Tensor

Dimensions = Sequence[tuple[str, int]]


class Home(Protocol):
    """Where slices live: a lowering of more than one processor.

    Attributes:
        layout: of its mesh.
    """

    layout: Layout

    def place(self, values: Sequence[FloatArray], dtype: str) -> Any:
        """Makes the slices resident; one value a processor, in order."""

    def slices(self, resident: Any) -> list[tf.Variable]:
        """The variables of what `place` gave, one a processor, in order."""


def mesh_and_rules(layout: Layout) -> tuple[Any, Any]:
    """A layout as Mesh TensorFlow's mesh shape and layout rules."""
    mesh = [mtf.Dimension(name, size) for name, size in layout.mesh.items()]
    return mtf.Shape(mesh), mtf.LayoutRules(layout.axes.items())


class SlicedVariable(keras.Variable):
    """To Keras one weight, counted once.

    Args:
        value: the whole weight; it is cut on the host and let go.
        dimensions: names and sizes of its axes.
        home: where its slices live.
        dtype: of the slices.
        name: as Keras shows it.

    Attributes:
        resident: what the home made of the slices.

    Raises:
        ValueError: the value has another shape than the dimensions.
    """

    def __init__(
        self,
        value: FloatArray | Int8Array,
        dimensions: Dimensions,
        home: Home,
        *,
        dtype: str,
        name: str,
    ) -> None:
        shape = tuple(size for _, size in dimensions)
        if value.shape != shape:
            raise ValueError(
                f"Weight '{name}' must have shape {shape}. "
                f"Received: shape {value.shape}"
            )
        self._dimensions = dimensions
        self._home = home
        super().__init__(
            lambda shape, dtype: value,
            shape=shape,
            dtype=dtype,
            trainable=False,
            autocast=False,
            name=name,
        )

    def _initialize_with_initializer(
        self, initializer: Callable[..., FloatArray]
    ) -> None:
        whole = initializer(self._shape, dtype=self._dtype)
        # Copies: TensorFlow may keep a view, and with it the whole, alive.
        self.resident = self._home.place(
            [np.array(whole[window]) for window in self._windows()],
            self._dtype,
        )
        self._value = None

    @property
    def slices(self) -> list[tf.Variable]:
        """One variable a processor."""
        return self._home.slices(self.resident)

    @property
    def value(self) -> Tensor:
        """The whole weight, put together on the host, to be looked at."""
        implementation = mtf.MeshImpl(*mesh_and_rules(self._home.layout))
        shape = mtf.Shape([mtf.Dimension(*d) for d in self._dimensions])
        with tf.device("CPU:0"):
            slices = [tf.identity(piece) for piece in self.slices]
            return implementation.combine_slices(slices, shape, "CPU:0")

    def _direct_assign(self, value: Tensor) -> None:
        whole = np.asarray(value)
        for piece, window in zip(self.slices, self._windows(), strict=True):
            piece.assign(whole[window])

    def _windows(self) -> list[tuple[slice, ...]]:
        return self._home.layout.windows(self._dimensions)
