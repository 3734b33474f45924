"""A T5 without a prompt: the same answers as its logits say, and learning."""

import numpy as np
import pytest

from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models.plain_t5 import PlainT5
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config
from keras_prompt.optimizers import Adafactor
from keras_prompt.tasks.pipeline import make_dataset
from keras_prompt.tasks.sources import RowsSource
from keras_prompt.tasks.task import Task

TEXTS = ["the film is a delight", "a dull and tedious film"]
TASK = Task(
    "films",
    RowsSource(
        {
            "train": [
                {"inputs": text, "targets": target}
                for text, target in zip(
                    TEXTS, ("positive", "negative"), strict=True
                )
            ]
            * 4
        }
    ),
    labels=("positive", "negative"),
)


def model(tokenizer, trainable=False, **options):
    config = T5Config(tokenizer.vocabulary_size + 6, 16, 4, 24, 2, 2, 1)
    backbone = MeshT5Backbone(config, seed=3, trainable=trainable, **options)
    return PlainT5(backbone, tokenizer)


def test_its_logits_are_the_backbone_s(tiny_tokenizer):
    found = model(tiny_tokenizer)
    ids = np.asarray([tiny_tokenizer.encode(TEXTS[0])])
    mask = np.ones_like(ids, bool)
    target = np.asarray([[0, 5, 6]])
    x = {
        "encoder_token_ids": ids,
        "encoder_padding_mask": mask,
        "decoder_token_ids": target,
    }
    backbone = found.backbone
    np.testing.assert_array_equal(
        found(x), backbone(backbone.embed(ids), mask, target)
    )


def test_it_scores_as_with_a_prompt_that_is_the_text_s_first_words(
    tiny_tokenizer,
):
    plain = model(tiny_tokenizer)
    ids = tiny_tokenizer.encode("the film")
    prompted = PromptTunedT5(plain.backbone, tiny_tokenizer, len(ids))
    prompted.prompt.embeddings.assign(plain.backbone.embedding_table()[ids])
    np.testing.assert_allclose(
        prompted.rank(["is a delight"], TASK.labels),
        plain.rank(["the film is a delight"], TASK.labels),
        rtol=0,
        atol=1e-4,
    )


def test_it_writes_and_scores_alike(tiny_tokenizer):
    found = model(tiny_tokenizer)
    written = found.generate(TEXTS, max_length=5)
    again = [found.generate([text], max_length=5)[0] for text in TEXTS]
    assert written == again
    np.testing.assert_allclose(
        found.score(TEXTS, ["positive"] * 2),
        found.rank(TEXTS, TASK.labels)[:, 0],
        rtol=0,
        atol=1e-5,
    )


def test_frozen_nothing_learns_and_trainable_everything_does(tiny_tokenizer):
    assert not model(tiny_tokenizer).trainable_variables
    found = model(tiny_tokenizer, trainable=True, dropout_rate=0.1)
    found.compile(
        optimizer=Adafactor(0.01, scale_by_parameter_size=True),
        loss=TokenCrossentropy(),
    )
    before = {n: w.numpy() for n, w in found.tuned_weights.items()}
    base = found.base_fingerprint()
    train = make_dataset(
        TASK, "train", tiny_tokenizer, target_length=12, batch_size=4
    )
    losses = found.fit(train, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < losses[0] - 0.5
    for name, weight in found.tuned_weights.items():
        assert (weight.numpy() != before[name]).any(), name
    assert found.base_fingerprint() == base
    assert found.backbone.fingerprint() != base


def test_the_report_says_what_learns(tiny_tokenizer):
    assert model(tiny_tokenizer).parameter_report().endswith("all frozen")
    report = model(tiny_tokenizer, trainable=True).parameter_report()
    assert report.endswith("all learn")


def test_the_report_counts_parameters_whatever_holds_them(tiny_tokenizer):
    """int8 keeps scales beside its integers, which are none."""
    whole = model(tiny_tokenizer)
    count = sum(int(np.prod(w.shape)) for w in whole.backbone.weights)
    report = f"Parameters: {count:,} · all frozen"
    assert whole.parameter_report() == report
    for dtype in ("int8", "bfloat16"):
        assert model(tiny_tokenizer, dtype=dtype).parameter_report() == report


def test_a_misspelt_preset_is_named():
    with pytest.raises(ValueError, match="Did you mean 't5_1_1_nano_lm'"):
        PlainT5.from_preset("t5_1_1_nano_ml")
