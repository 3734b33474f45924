"""Where a served base finds its rows' prompts: a folder, or variables.

Letters: B rows, D d_model.
"""

from pathlib import Path

import tensorflow as tf

from keras_prompt.export.request_prompts import (
    OK,
    RowPrompts,
    read_row_prompts,
)
from keras_prompt.types import Tensor


class RootFolder(tf.Module):
    """Reads prompts from a folder while a request runs.

    Args:
        scratch: folder for a file that is saved among the assets.
        root: the folder of the prompts' folders.
        d_model: D.
        fingerprint: of the base; prompts of another are refused.
    """

    def __init__(
        self, scratch: Path, root: str, d_model: int, fingerprint: str
    ) -> None:
        super().__init__()
        self._file = scratch / "prompt_root.txt"
        self._file.write_text(root + "\n")
        self._d_model = d_model
        self._fingerprint = fingerprint
        # An asset: a server that sees the folder elsewhere has one line to
        # change.
        self.root = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                str(self._file),
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
            ),
            default_value="",
        )

    def prompts(self, task: Tensor) -> RowPrompts:
        """The prompt of each row's task, string (B,)."""
        with tf.device("CPU:0"):  # files and strings live there
            return read_row_prompts(
                self.root.lookup(tf.constant(0, tf.int64)),
                tf.ensure_shape(task, [None]),
                d_model=self._d_model,
                fingerprint=self._fingerprint,
            )

    def clean_up(self) -> None:
        """Removes what is saved among the assets by now."""
        self._file.unlink()


class VariableBank(tf.Module):
    """Prompts in variables of open shapes, which a release fills.

    Args:
        d_model: D.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.names = tf.Variable(
            tf.zeros([0], tf.string), trainable=False, shape=[None]
        )
        self.vectors = tf.Variable(
            tf.zeros([0, 0, d_model]),
            trainable=False,
            shape=[None, None, d_model],
        )
        self.lengths = tf.Variable(
            tf.zeros([0], tf.int32), trainable=False, shape=[None]
        )

    def prompts(self, task: Tensor) -> RowPrompts:
        """The prompt of each row's task, string (B,)."""
        task = tf.ensure_shape(task, [None])
        is_mine = tf.cast(task[:, None] == self.names[None], tf.int32)
        # Place 0 is no prompt, so that an empty bank has something to find.
        place = tf.argmax(tf.pad(is_mine, [[0, 0], [1, 0]]), axis=1)  # (B,)
        vectors = tf.pad(self.vectors, [[1, 0], [0, 0], [0, 0]])
        lengths = tf.pad(self.lengths, [[1, 0]])
        return RowPrompts(
            vectors=tf.gather(vectors, place),
            lengths=tf.gather(lengths, place),
            status=tf.where(place > 0, OK, "unknown task"),
        )

    def clean_up(self) -> None:
        """There is nothing to remove."""
