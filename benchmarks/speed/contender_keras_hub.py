"""KerasHub's T5 with a prompt put before its encoder by hand.

KerasHub has no prompt tuning and no way to hand embeddings to its T5, so its
layers are called one by one, as its own functional model calls them.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from speed_work import Work

from keras_prompt.models.checkpoints import hugging_face
from keras_prompt.models.t5.config import T5Config

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from oracles.keras_hub_t5 import keras_hub_backbone


class _Weights(NamedTuple):
    config: T5Config
    weights: Callable[[], dict[str, Any]]


class KerasHub:
    """Trains and scores; T5Seq2SeqLM's generating takes no prompt."""

    def __init__(self, work: Work) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(work.threads)
        self._work = work
        folder = Path(work.folder)
        checkpoint = hugging_face.read(folder / "model")
        backbone = keras_hub_backbone(
            _Weights(checkpoint.config, lambda: _all(checkpoint))
        )
        self._model = PromptedBackbone(backbone, np.load(folder / "prompt.npy"))
        self._model.compile(
            optimizer=keras.optimizers.Adafactor(0.3),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=work.jit_compile,
        )
        self._rows = work.read_rows()
        self._iterators: dict[str, Any] = {}
        self._score_batch = tf.function(_scores, reduce_retracing=True)

    def steps(self, ids: np.ndarray, targets: np.ndarray, count: int) -> float:
        """So many steps on one batch; the last one's loss."""
        if "equal" not in self._iterators:
            batch = tf.data.Dataset.from_tensors(_features(ids, targets))
            self._iterators["equal"] = iter(batch.repeat())
        return self._train("equal", count)

    def first_loss(self, ids: np.ndarray, targets: np.ndarray) -> float:
        """Before any step, as a check that all run the same model."""
        x, y, _ = _features(ids, targets)
        return (
            -float(np.mean(self._score_batch(self._model, x, y))) / y.shape[1]
        )

    def epoch(self) -> int:
        """One over all rows; useful tokens, input and target."""
        if "epoch" not in self._iterators:
            x, y, weight = _features(np.zeros((1, 1)), np.zeros((1, 1)))
            kinds = tf.nest.map_structure(
                lambda v: tf.TensorSpec([None, None], v.dtype), (x, y, weight)
            )
            rows = tf.data.Dataset.from_generator(
                self._batches_forever, output_signature=kinds
            )
            self._iterators["epoch"] = iter(rows.prefetch(2))
        lists = self._rows["inputs"] + self._rows["targets"]
        self._train(
            "epoch", -(-len(self._rows["inputs"]) // self._work.batch_size)
        )
        return sum(map(len, lists))

    def score(self) -> Any:
        """Every label word of every row: a pass for each label."""
        rows, size = self._rows, self._work.batch_size
        chosen = rows["inputs"][: self._work.rows]
        scores = []
        for start in range(0, len(chosen), size):
            inputs = chosen[start : start + size]
            columns = []
            for label in rows["labels"]:
                x, y, _ = _features(
                    _padded(inputs), _padded([label] * len(inputs))
                )
                columns.append(self._score_batch(self._model, x, y).numpy())
            scores += np.stack(columns, 1).tolist()
        return scores

    def _train(self, iterator: str, count: int) -> float:
        model = self._model
        if model.train_function is None:
            model.optimizer.build(model.trainable_variables)
            model.make_train_function()
        for _ in range(count):
            logs = model.train_function(self._iterators[iterator])
        return float(logs["loss"])

    def _batches_forever(self) -> Iterator[Any]:
        rows, random = self._rows, np.random.default_rng(0)
        size = self._work.batch_size
        while True:
            order = random.permutation(len(rows["inputs"]))
            for start in range(0, len(order), size):
                chosen = order[start : start + size]
                inputs = [rows["inputs"][i] for i in chosen]
                targets = [rows["targets"][i] for i in chosen]
                yield _features(_padded(inputs), _padded(targets))


class PromptedBackbone(keras.Model):
    """Logits of a frozen T5 with a trainable prompt before its input."""

    def __init__(self, backbone: Any, prompt: np.ndarray) -> None:
        super().__init__()
        self.backbone = backbone
        backbone.trainable = False
        self.prompt = self.add_weight(
            name="prompt",
            shape=prompt.shape,
            initializer=keras.initializers.Constant(prompt),
        )
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        t5, ids = self.backbone, inputs["encoder_token_ids"]
        embedded = t5.token_embedding(ids)
        rows, length = tf.shape(ids)[0], self.prompt.shape[0]
        prompt = tf.tile(self.prompt[None], [rows, 1, 1])
        x = tf.concat([prompt, embedded], 1)
        mask = tf.pad(
            inputs["encoder_padding_mask"],
            [[0, 0], [length, 0]],
            constant_values=1,
        )[:, None]
        bias = None
        for layer in t5.encoder_transformer_layers:
            x, bias = layer(
                x, attention_mask=mask, position_bias=bias, training=training
            )
        encoded = t5.encoder_layer_norm(x)
        x, bias = t5.token_embedding(inputs["decoder_token_ids"]), None
        for layer in t5.decoder_transformer_layers:
            x, bias = layer(
                x,
                attention_mask=inputs["decoder_padding_mask"][:, None],
                position_bias=bias,
                encoder_hidden_states=encoded,
                encoder_attention_mask=mask,
                use_causal_mask=True,
                training=training,
            )
        return t5.token_embedding(t5.decoder_layer_norm(x), reverse=True)


def _scores(model: PromptedBackbone, x: dict[str, Any], y: Any) -> Any:
    """The log-likelihood of each row's target, summed over its tokens."""
    losses = keras.ops.sparse_categorical_crossentropy(
        y, model(x), from_logits=True
    )
    return -tf.reduce_sum(tf.where(y == 0, 0.0, losses), -1)


def _features(ids: np.ndarray, targets: np.ndarray) -> Any:
    ids, targets = ids.astype(np.int32), targets.astype(np.int32)
    decoder = np.pad(targets[:, :-1], [(0, 0), (1, 0)])
    x = {
        "encoder_token_ids": ids,
        "encoder_padding_mask": (ids != 0).astype(np.int32),
        "decoder_token_ids": decoder,
        "decoder_padding_mask": np.ones_like(decoder),
    }
    return x, targets, (targets != 0).astype(np.float32)


def _padded(rows: list[list[int]]) -> np.ndarray:
    width = max(map(len, rows))
    return np.array([row + [0] * (width - len(row)) for row in rows])


def _all(checkpoint: Any) -> dict[str, Any]:
    from keras_prompt.models.t5.variables import weight_table

    return {
        name: checkpoint.weights(name)
        for name in weight_table(checkpoint.config)
    }
