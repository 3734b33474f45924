"""What a TPU would be given: every step compiles to XLA's HLO.

No TPU is needed to see the program: its shapes are static, its operations
are XLA's own, and nothing calls back to the host.
"""

import re

import numpy as np
import pytest
import tensorflow as tf

from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models import decoding
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config
from keras_prompt.optimizers import Adafactor

ROWS, SOURCE, TARGET = 4, 12, 6
# Operations that leave the device, or that only a host's compiler has.
_OFF_DEVICE = {
    "custom-call",
    "infeed",
    "outfeed",
    "send",
    "send-done",
    "recv",
    "recv-done",
    "rng",
    "rng-get-and-update-state",
}
# f32[4,<=9] would be a size bounded but unknown; s32[?] one not even that.
_DYNAMIC = re.compile(
    r"\w+\[[^\]]*(<=|\?)[^\]]*\]|get-dimension-size|dynamic-reshape"
)


@pytest.fixture
def model(tiny_tokenizer):
    config = T5Config(tiny_tokenizer.vocabulary_size, 16, 4, 24, 2, 2, 2)
    backbone = MeshT5Backbone(config, dropout_rate=0.1, rematerialize=True)
    model = PromptTunedT5(backbone, tiny_tokenizer, prompt_length=3)
    model.compile(optimizer=Adafactor(0.3), loss=TokenCrossentropy())
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture
def features():
    ids = np.arange(2, 2 + ROWS * SOURCE).reshape(ROWS, SOURCE) % 30 + 2
    return {
        "encoder_token_ids": tf.constant(ids, tf.int32),
        "encoder_padding_mask": tf.constant(ids > 3),
    }


def hlo(function, *arguments):
    compiled = tf.function(function, jit_compile=True, autograph=False)
    return compiled.experimental_get_compiler_ir(*arguments)(stage="hlo")


def operations(text):
    """Of `%name = f32[4,16]{1,0} add(...)`, or of a tuple of such shapes."""
    pattern = re.compile(
        r"^\s*(?:ROOT )?%?[\w.-]+ = (?:\(.*?\)|\S+) ([a-z][\w-]*)\(",
        re.MULTILINE,
    )
    return set(pattern.findall(text))


def check(text):
    found = operations(text)
    assert {"dot", "parameter"} <= found, "this is no program of a T5"
    assert not found & _OFF_DEVICE
    assert not _DYNAMIC.search(text)


def test_the_train_step_is_a_program_for_a_tpu(model, features):
    targets = tf.ones([ROWS, TARGET], tf.int32)
    x = features | {"decoder_token_ids": targets}
    text = hlo(model.train_step, (x, targets, tf.ones([ROWS, TARGET])))
    check(text)


def test_scoring_is_a_program_for_a_tpu(model, features):
    targets = tf.ones([ROWS, TARGET], tf.int32)

    def score(x):
        logits = model(x | {"decoder_token_ids": targets})
        return decoding.log_likelihood(logits, targets)

    check(hlo(score, features))


@pytest.mark.parametrize("sampler", ["greedy", "beam"])
def test_generation_is_a_program_for_a_tpu(model, features, sampler):
    backbone = model.backbone

    def generate(x):
        embedded, mask = model.prompt(
            backbone.embed(x["encoder_token_ids"]), x["encoder_padding_mask"]
        )
        return decoding.generate_token_ids(
            backbone,
            decoding.get_sampler(sampler),
            backbone.encode(embedded, mask),
            mask,
            TARGET,
        )

    text = hlo(generate, features)
    check(text)
    assert "while" in operations(text)


def test_the_check_finds_what_a_tpu_has_not():
    def with_host_callback(x):
        return tf.py_function(lambda y: y, [x], tf.float32)

    with pytest.raises(ValueError, match="EagerPyFunc"):
        hlo(with_host_callback, tf.ones([2]))
    assert _DYNAMIC.search("%a = f32[4,<=9]{1,0} add(%b, %c)")
    text = "  ROOT %c = (f32[2]{0}, s32[]) custom-call(%a), target=x"
    assert operations(text) == {"custom-call"}
