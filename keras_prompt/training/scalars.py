"""Writes Keras' logs for TensorBoard, which need not be installed here.

`keras.callbacks.TensorBoard` asks for the package tensorboard, a web server,
to write what TensorFlow itself can write.
"""

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf


class TensorBoardScalars(keras.callbacks.Callback):
    """Adds every log of an epoch to `train/` and `validation/` of a folder.

    The horizontal axis is the optimizer's step. The learning rate is among
    the scalars.

    Args:
        folder: what `tensorboard --logdir` is given.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        optimizer = self.model.optimizer
        step = int(optimizer.iterations.numpy())
        rate = float(optimizer.learning_rate)
        for name, value in {**(logs or {}), "learning_rate": rate}.items():
            is_validation = name.startswith("val_")
            with self._writer(
                "validation" if is_validation else "train"
            ).as_default(step):
                tf.summary.write(
                    name.removeprefix("val_"),
                    tf.constant(value, tf.float32),
                    metadata=_scalar(),
                )
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _writer(self, name: str) -> tf.summary.SummaryWriter:
        if name not in self._writers:
            path = str(self._folder / name)
            self._writers[name] = tf.summary.create_file_writer(path)
        return self._writers[name]


def _scalar() -> tf.compat.v1.SummaryMetadata:
    """What tells TensorBoard's plugin "scalars" that a tensor is its own."""
    plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
    return tf.compat.v1.SummaryMetadata(
        plugin_data=plugin,
        data_class=1,  # tensorflow/core/framework/summary.proto: SCALAR
    )
