"""Scoring in passes: bounded, and the same as all targets at once."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from keras_prompt.models import decoding

TEXTS = ["the film is a delight", "a dull film"]


@pytest.fixture
def positions(tiny_model, monkeypatch):
    """Of the decoder, in each of its passes, when they run."""
    backbone, seen = tiny_model.backbone, []
    decode = backbone.decode

    def record(encoded, padding_mask, token_ids, targets):
        note = tf.py_function(
            lambda shape: seen.append(int(shape[1])), [tf.shape(token_ids)], []
        )
        with tf.control_dependencies([note]):
            encoded = tf.identity(encoded)
        return decode(encoded, padding_mask, token_ids, targets)

    monkeypatch.setattr(backbone, "decode", record)
    return seen


@pytest.mark.parametrize(
    ("count", "length"),
    [
        (12, 5),  # 4 a pass
        (11, 5),  # the last has 3
        (3, 5),
        (0, 5),
        (7, 1),  # 20 a pass
        (4, 20),
        (3, 50),  # one a pass, though it is longer
    ],
)
def test_scores_in_passes_are_those_of_one_pass(
    tiny_model, monkeypatch, count, length
):
    monkeypatch.setattr(decoding, "_POSITIONS_A_PASS", 20)
    backbone = tiny_model.backbone
    rng = np.random.default_rng(0)
    encoded = tf.constant(rng.normal(size=(2, 4, 16)), tf.float32)
    mask = tf.constant([[True] * 4, [True, True, False, False]])
    targets = rng.integers(3, 90, (2, count, length))
    lengths = rng.integers(0, length + 1, (2, count, 1))
    targets = np.where(np.arange(length) < lengths, targets, 0)
    # A graph that knows no sizes takes none for unknown.
    at_once, in_passes = (
        tf.function(
            functools.partial(score, backbone, encoded, mask),
            input_signature=[tf.TensorSpec([None, None, None], tf.int32)],
            autograph=False,
        )(targets.astype(np.int32))
        for score in (decoding.score_targets, decoding.score_in_passes)
    )
    assert in_passes.shape == (2, count)
    np.testing.assert_allclose(in_passes, at_once, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("count", "length", "expected"),
    [(11, 5, [20, 20, 15]), (2, 50, [50, 50]), (3, 11, [11, 11, 11])],
)
def test_a_pass_has_no_more_positions_than_it_may_or_one_target(
    tiny_model, positions, monkeypatch, count, length, expected
):
    monkeypatch.setattr(decoding, "_POSITIONS_A_PASS", 20)
    score = tf.function(decoding.score_in_passes, autograph=False)
    encoded, mask = tf.zeros([2, 4, 16]), tf.fill([2, 4], True)
    targets = tf.ones([2, count, length], tf.int32)
    score(tiny_model.backbone, encoded, mask, targets)
    assert positions == expected


def test_many_long_labels_are_ranked_as_each_is_scored(tiny_model, positions):
    """512 positions at once, or one label that is longer."""
    labels = [f"the cast {'is dull ' * (3 * n)}" for n in range(9)]
    longest = max(map(len, tiny_model.target_rows(labels)))
    assert 512 // longest == 4
    scores = [tiny_model.score(TEXTS, [label] * 2) for label in labels]
    positions.clear()
    ranked = tiny_model.rank(TEXTS, labels)
    assert positions == [4 * longest, 4 * longest, longest]
    np.testing.assert_allclose(
        ranked, np.stack(scores, axis=1), rtol=1e-5, atol=1e-5
    )
    too_long = "a film " * 200
    (length,) = map(len, tiny_model.target_rows([too_long]))
    assert length > 512
    positions.clear()
    assert tiny_model.rank(TEXTS, [too_long, "a"]).shape == (2, 2)
    assert positions == [length, length]
