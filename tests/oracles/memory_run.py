"""Peak memory of a training step, in a process of its own.

`python memory_run.py D_MODEL D_FF HEADS VOCAB ROWS LENGTH REMATERIALIZE DTYPE`
prints the bytes that the process held at its peak.
"""

import os
import re
import sys
import types
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

LAYERS, D_KV, TARGET_LENGTH, PROMPT_LENGTH = 4, 64, 16, 20


def main(d_model, d_ff, heads, vocab, rows, length, rematerialize, dtype):
    from keras_prompt.losses import TokenCrossentropy
    from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
    from keras_prompt.models.t5.backbone import MeshT5Backbone
    from keras_prompt.models.t5.config import T5Config
    from keras_prompt.optimizers import Adafactor

    config = T5Config(vocab, d_model, D_KV, d_ff, heads, LAYERS, LAYERS)
    backbone = MeshT5Backbone(
        config, rematerialize=bool(rematerialize), dtype=dtype
    )
    no_text = types.SimpleNamespace(vocabulary_size=0)
    model = PromptTunedT5(backbone, no_text, PROMPT_LENGTH)
    model.compile(optimizer=Adafactor(0.3), loss=TokenCrossentropy())
    rng = np.random.default_rng(0)
    ids = rng.integers(2, vocab, (rows, length), np.int32)
    y = rng.integers(2, vocab, (rows, TARGET_LENGTH), np.int32)
    x = {
        "encoder_token_ids": ids,
        "encoder_padding_mask": ids > 0,
        "decoder_token_ids": y,
    }
    data = tf.data.Dataset.from_tensors((x, y, np.ones_like(y, np.float32)))
    model.fit(data.repeat(2), verbose=0)
    # Not `ru_maxrss`: a process that was started by a larger one begins there.
    status = Path("/proc/self/status").read_text()
    print(1024 * int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:-1]), sys.argv[-1])
