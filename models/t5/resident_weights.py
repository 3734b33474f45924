"""A T5's weights as they are kept: whole or in slices, quantised or not.

Letters: D d_model, V vocabulary.
"""

import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_prompt.models.mesh.choice import Lowering
from keras_prompt.models.mesh.local import Local
from keras_prompt.models.mesh.sliced_variable import SlicedVariable
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.fingerprint import Fingerprint
from keras_prompt.models.t5.initial_values import aligned_tensor
from keras_prompt.models.t5.int8 import (
    dequantise,
    quantise,
    scale_dimensions,
    scale_name,
)
from keras_prompt.models.t5.variables import (
    TABLE,
    Dimensions,
    initial_weight,
    weight_table,
)
from keras_prompt.types import FloatArray, Int8Array, Tensor


class ResidentWeights(keras.layers.Layer):
    """A layer that has every weight of a T5, by its Mesh-TF name.

    Args:
        config: the T5's sizes.
        lowering: where the slices of a weight live.
        weights: gives a weight's initial value by its name, called once each,
            in float32 or bfloat16; none are random.
        seed: of the random ones.
        dtype: as `MeshT5Backbone`, like the next.
        trainable: whether they learn.
        name: of the layer.
    """

    def __init__(
        self,
        config: T5Config,
        lowering: Lowering,
        *,
        weights: Callable[[str], FloatArray] | None,
        seed: int,
        dtype: str,
        trainable: bool,
        name: str,
    ) -> None:
        is_int8 = dtype == "int8"
        float_dtype = "float32" if is_int8 else dtype
        super().__init__(name=name, dtype=float_dtype, trainable=trainable)
        self.config = config
        self._lowering = lowering
        self._is_int8 = is_int8
        self._variables_by_name: dict[str, keras.Variable] = {}
        rng = np.random.default_rng(seed)
        unquantised, kept = Fingerprint(), Fingerprint()
        for weight_name, dimensions in weight_table(config).items():
            if weights is None:
                read = functools.partial(
                    initial_weight, weight_name, dimensions, rng
                )
            else:
                read = functools.partial(weights, weight_name)
            self._store(weight_name, dimensions, read, unquantised, kept)
        self._made_of = (unquantised.text(), kept.text()) if is_int8 else None

    def weight(self, name: str) -> keras.Variable:
        """The variable of a Mesh-TF name.

        Raises:
            ValueError: it is an int8 one, no weight without its scales.
        """
        variable = self._variables_by_name[name]
        if variable.dtype == "int8":
            raise ValueError(
                f"Weight '{name}' is quantised and cannot be handed on. Load "
                "the model with dtype='float32' for that."
            )
        return variable

    def embedding_table(self) -> FloatArray:
        """The input embedding, float32 (V, D)."""
        value = self._variables_by_name[TABLE].numpy()
        if not self._is_int8:
            return np.asarray(value, np.float32)
        scale = self._variables_by_name[scale_name(TABLE)].numpy()
        return dequantise(TABLE, weight_table(self.config)[TABLE], value, scale)

    def fingerprint(self) -> str:
        """Of the weights, however they are stored; see `fingerprint`.

        Raises:
            ValueError: int8 weights are no longer those of construction, so
                that what they were before they were quantised is not known.
        """
        found = Fingerprint()
        for name, variable in self._variables_by_name.items():
            found.add(name, variable.value)
        if self._made_of is None:
            return found.text()
        unquantised, kept = self._made_of
        if found.text() != kept:
            raise ValueError(
                "An int8 model's fingerprint, by which prompts and checkpoints "
                "know their base, is of the weights before they are quantised, "
                "and this model got others later (`load_weights`, "
                "`set_weights`). Make it of the weights it is to have: "
                "`from_preset(…, dtype='int8')`."
            )
        return unquantised

    def _read_weight(self, name: str, dtype: tf.DType) -> list[Tensor]:
        variable = self._variables_by_name[name]
        if variable.dtype == "int8":
            dtype = tf.int8
        return self._lowering.read(variable, dtype)

    def _store(
        self,
        name: str,
        dimensions: Dimensions,
        read: Callable[[], FloatArray],
        unquantised: Fingerprint,
        kept: Fingerprint,
    ) -> None:
        """Creates a weight's variable, or two of an int8 one.

        A weight is read only when its variable is made, so that beside the
        variables there are at most two arrays of it in memory, of which one
        becomes the variable's.
        """
        if not self._is_int8:
            self._add_variable(name, dimensions, read, self.variable_dtype)
            return
        value = read()
        unquantised.add(name, value)
        channels = scale_dimensions(name, dimensions)
        if channels is None:
            kept.add(name, value)
            self._add_variable(
                name, dimensions, lambda: value, self.variable_dtype
            )
            return
        stored, scale = quantise(name, dimensions, value)
        kept.add(scale_name(name), scale)
        kept.add(name, stored)
        self._add_variable(
            scale_name(name), channels, lambda: scale, self.variable_dtype
        )
        self._add_variable(name, dimensions, lambda: stored, "int8")

    def _add_variable(
        self,
        name: str,
        dimensions: Dimensions,
        read: Callable[[], FloatArray | Int8Array],
        dtype: str,
    ) -> None:
        """A variable, whole or in slices where they are used."""
        variable_name = name.replace("/", ".")
        if isinstance(self._lowering, Local):
            variable = self.add_weight(
                name=variable_name,
                shape=[size for _, size in dimensions],
                initializer=lambda shape, dtype: tf.ensure_shape(
                    aligned_tensor(read(), tf.as_dtype(dtype)), shape
                ),
                dtype=dtype,
                trainable=self.trainable,
                autocast=False,
            )
        else:
            with keras.name_scope(self.name):
                variable = SlicedVariable(
                    read(),
                    dimensions,
                    self._lowering,
                    dtype=dtype,
                    name=variable_name,
                )
        self._variables_by_name[name] = variable
