"""Small models and batches on which our stack and every oracle are run.

Letters: S input tokens.
"""

import dataclasses
import zlib

import numpy as np
import tensorflow as tf

from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.variables import weight_table


@dataclasses.dataclass(frozen=True)
class StackCase:
    """A model's sizes and a batch's.

    `input_lengths` has one entry a row; the longest is S. The same holds for
    `target_lengths`.
    """

    name: str
    config: T5Config
    prompt_length: int
    input_lengths: tuple[int, ...]
    target_lengths: tuple[int, ...]

    def weights(self) -> dict[str, np.ndarray]:
        """Weights by Mesh-TF name, alike on every NumPy.

        `RandomState`'s stream is frozen for good, `Generator`'s is not.
        """
        random = np.random.RandomState(zlib.crc32(self.name.encode()))
        weights = {}
        for name, dimensions in weight_table(self.config).items():
            shape = [size for _, size in dimensions]
            noise = random.standard_normal(shape)
            scale = name.endswith("/scale")
            value = 1 + 0.1 * noise if scale else 0.4 * noise
            weights[name] = value.astype(np.float32)
        return weights

    def batch(self) -> dict[str, np.ndarray]:
        """Prompt, token ids, masks and targets of the batch."""
        random = np.random.RandomState(zlib.crc32(self.name.encode()) ^ 1)
        vocab = self.config.vocab_size
        tokens = [random.randint(2, vocab, n) for n in self.input_lengths]
        targets = [random.randint(2, vocab, n) for n in self.target_lengths]
        ids, y = _padded(tokens), _padded(targets)
        shape = (self.prompt_length, self.config.d_model)
        return {
            "prompt": random.standard_normal(shape).astype(np.float32),
            "encoder_token_ids": ids,
            "encoder_padding_mask": ids != 0,
            "decoder_token_ids": np.pad(y[:, :-1], [(0, 0), (1, 0)]),
            "targets": y,
        }

    def backbone(self, **options: object) -> MeshT5Backbone:
        """Our stack with this case's weights."""
        weights = self.weights()
        return MeshT5Backbone(
            self.config, weights=weights.__getitem__, **options
        )


def _padded(rows: list[np.ndarray]) -> np.ndarray:
    padded = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return padded


def _config(**changes: object) -> T5Config:
    sizes = {
        "vocab_size": 61,
        "d_model": 16,
        "d_kv": 4,
        "d_ff": 24,
        "num_heads": 3,
        "num_encoder_layers": 2,
        "num_decoder_layers": 2,
    }
    return T5Config(**{**sizes, **changes})


CASES = {
    case.name: case
    for case in (
        StackCase("t5_1_1", _config(), 5, (7, 4, 7), (3, 4, 1)),
        StackCase(
            "t5_1_0",
            _config(feed_forward="relu", is_tied=True),
            5,
            (6, 6),
            (4, 2),
        ),
        StackCase(
            "deep_decoder",
            _config(num_encoder_layers=1, num_decoder_layers=4),
            3,
            (5, 2),
            (6, 3),
        ),
        StackCase(
            "deep_encoder_odd_heads",
            _config(
                num_encoder_layers=4,
                num_decoder_layers=1,
                num_heads=5,
                d_kv=7,
                d_ff=9,
            ),
            8,
            (9, 1, 4, 9),
            (2, 2, 1, 2),
        ),
        StackCase(
            # Beyond the largest distance, with few buckets.
            "long_input",
            _config(num_buckets=8, max_distance=20),
            20,
            (150, 90),
            (40, 12),
        ),
        StackCase("one_row_one_token", _config(), 1, (1,), (1,)),
        StackCase(
            "tied_gated", _config(is_tied=True, d_kv=16), 4, (8, 3), (5, 5)
        ),
    )
}


def run_ours(
    backbone: MeshT5Backbone, batch: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Logits, mean target loss and its gradient at the prompt."""
    prompt = tf.constant(batch["prompt"])
    with tf.GradientTape() as tape:
        tape.watch(prompt)
        rows = len(batch["targets"])
        front = tf.repeat(prompt[None], rows, axis=0)
        embedded = backbone.embed(batch["encoder_token_ids"])
        embedded = tf.concat([tf.cast(front, embedded.dtype), embedded], 1)
        mask = np.pad(
            batch["encoder_padding_mask"],
            [(0, 0), (len(prompt), 0)],
            constant_values=True,
        )
        logits = backbone(embedded, mask, batch["decoder_token_ids"])
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            batch["targets"], logits
        )
        is_target = tf.cast(batch["targets"] != 0, tf.float32)
        loss = tf.reduce_sum(losses * is_target) / tf.reduce_sum(is_target)
    return {
        "logits": logits.numpy(),
        "loss": loss.numpy(),
        "gradient": tape.gradient(loss, prompt).numpy(),
    }
