"""Span corruption and prefix LM as packed batches, counted by hand."""

import numpy as np
import pytest

from keras_prompt.tasks.pretraining import pretraining_dataset
from keras_prompt.tasks.span_corruption import span_corruption_target_length
from keras_prompt.tasks.text_corpus import TokenCorpus
from keras_prompt.tokenizer import SENTINELS

LENGTH = 64


@pytest.fixture
def corpus():
    """60 pieces: piece i is 10 + i // 2 tokens, counting from 3 + i."""
    lengths = [10 + i // 2 for i in range(60)]
    tokens = np.concatenate(
        [3 + i + np.arange(n) for i, n in enumerate(lengths)]
    )
    return TokenCorpus(
        tokens=tokens.astype(np.uint16),
        starts=np.cumsum([0, *lengths]),
        is_held_out=np.arange(60) % 10 == 0,
    )


@pytest.fixture
def batches(corpus, tiny_tokenizer):
    def make(split="train", objective="span_corruption", **options):
        return pretraining_dataset(
            corpus,
            split,
            tokenizer=tiny_tokenizer,
            objective=objective,
            **{"input_length": LENGTH, "batch_size": 4, **options},
        )

    return make


def examples(batch, tokenizer):
    """Inputs and targets of each packed example of a batch."""
    x, y, _ = (
        part if isinstance(part, dict) else part.numpy() for part in batch
    )
    inputs, segments = x["encoder_token_ids"], x["encoder_segments"].numpy()
    for row in range(len(y)):
        for number in range(1, segments[row].max() + 1):
            here = x["decoder_segments"].numpy()[row] == number
            yield (
                inputs.numpy()[row][segments[row] == number].tolist(),
                y[row][here].tolist(),
            )


def test_targets_of_exact_inputs_are_as_long_as_t5_says():
    # Raffel et al.'s own: 512 tokens in, 114 out.
    assert span_corruption_target_length(512) == 114


def spans(input_length):
    """Of an input without padding, by t5: a full target less one without."""
    from t5.data.preprocessors import random_spans_helper

    without, marked = (
        random_spans_helper(
            inputs_length=input_length,
            noise_density=0.15,
            mean_noise_span_length=3.0,
            extra_tokens_per_span_inputs=1,
            extra_tokens_per_span_targets=sentinels,
        )[1]
        for sentinels in (0, 1)
    )
    return marked - without


def test_no_input_has_more_spans_than_there_are_sentinels(batches):
    assert (spans(1809), spans(1810)) == (SENTINELS, SENTINELS + 1)
    for length in (1024, 1809):
        batches(input_length=length)
    for length in (1810, 2048):
        with pytest.raises(ValueError, match="must be at most 1809 for span"):
            batches(input_length=length)
    batches(input_length=2048, objective="prefix_lm")


def test_inputs_and_targets_together_are_the_pieces_one_after_another(
    batches, tiny_tokenizer
):
    first = tiny_tokenizer.vocabulary_size - 1  # <extra_id_0>
    seen = 0
    for batch in batches().take(5):
        for inputs, targets in examples(batch, tiny_tokenizer):
            assert inputs.pop() == targets.pop() == tiny_tokenizer.eos_id
            spans = {}
            sentinels = [t for t in targets if t >= tiny_tokenizer.piece_count]
            # Descending from the vocabulary's end, the same on both sides.
            assert sentinels == list(range(first, first - len(sentinels), -1))
            assert [
                t for t in inputs if t >= tiny_tokenizer.piece_count
            ] == sentinels
            for token in targets:
                if token in sentinels:
                    spans[token] = []
                else:
                    spans[sentinels[len(spans) - 1]].append(token)
            whole = []
            for token in inputs:
                whole += spans.get(token, [token])
            runs = np.split(whole, np.flatnonzero(np.diff(whole) != 1) + 1)
            for run in runs[1:-1]:  # the others may be cut
                assert len(run) == 10 + (run[0] - 3) // 2
            seen += 1
    assert seen == 20


def test_15_percent_of_the_tokens_are_corrupted_in_spans_of_3(
    batches, tiny_tokenizer
):
    kept = noise = spans = 0
    for batch in batches(input_length=512).take(5):
        for inputs, targets in examples(batch, tiny_tokenizer):
            here = sum(t >= tiny_tokenizer.piece_count for t in inputs)
            kept += len(inputs) - 1 - here
            noise += len(targets) - 1 - here
            spans += here
    assert noise / (kept + noise) == pytest.approx(0.15, abs=0.01)
    assert noise / spans == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize("objective", ["span_corruption", "prefix_lm"])
def test_decoder_inputs_are_targets_shifted_within_each_example(
    batches, objective
):
    for x, y, weights in batches(objective=objective).take(3):
        x = {name: value.numpy() for name, value in x.items()}
        y, weights = y.numpy(), weights.numpy()
        decoder, segments = x["decoder_token_ids"], x["decoder_segments"]
        begins = np.diff(segments, axis=1, prepend=0) != 0
        expected = np.concatenate([np.zeros_like(y[:, :1]), y[:, :-1]], axis=1)
        expected[begins] = 0
        np.testing.assert_array_equal(decoder, expected)
        np.testing.assert_array_equal(weights, y != 0)
        np.testing.assert_array_equal(
            x["encoder_padding_mask"], x["encoder_segments"] > 0
        )


def test_rows_of_span_corruption_are_full(batches):
    for x, y, _ in batches().take(5):
        np.testing.assert_array_equal(x["encoder_segments"], np.ones((4, 64)))
        assert y.shape == (4, span_corruption_target_length(LENGTH))
        assert (y.numpy() != 0).mean() > 0.9


def test_prefix_lm_packs_two_stretches_of_text_into_a_row(
    batches, tiny_tokenizer
):
    lengths, pairs, goes_on = set(), 0, 0
    for batch in batches(objective="prefix_lm").take(5):
        x, y, _ = batch
        assert x["encoder_token_ids"].shape == y.shape == (4, LENGTH)
        for row, segments in zip(
            x["encoder_token_ids"].numpy(),
            x["encoder_segments"].numpy(),
            strict=True,
        ):
            assert set(segments) == {1, 2}
            assert row.max() < tiny_tokenizer.piece_count  # no sentinel
        for inputs, targets in examples(batch, tiny_tokenizer):
            assert len(inputs) + len(targets) == LENGTH
            lengths.add(len(inputs))
            # The target goes on where the input stops, if no text ends there.
            last, first = inputs[-1], targets[0]
            goes_on += first - last == 1
            pairs += 1
    assert goes_on / pairs > 0.9  # else a piece ends there
    assert len(lengths) > 5


@pytest.mark.parametrize("objective", ["span_corruption", "prefix_lm"])
def test_the_same_seed_gives_the_same_batches_and_another_does_not(
    batches, objective
):
    def first_inputs(seed):
        dataset = batches(objective=objective, seed=seed).take(3)
        return [x["encoder_token_ids"].numpy() for x, _, _ in dataset]

    np.testing.assert_array_equal(first_inputs(1), first_inputs(1))
    assert (np.asarray(first_inputs(1)) != np.asarray(first_inputs(2))).any()


def test_training_is_endless_and_validation_is_one_pass(batches):
    assert len(list(batches().take(30))) == 30
    held_out, again = (
        [x["encoder_token_ids"] for x, _, _ in batches("validation", **few)]
        for few in [{"batch_size": 2}] * 2
    )
    assert len(held_out) == 1  # 210 tokens and 71 a row
    np.testing.assert_array_equal(held_out, again)


def test_training_goes_over_all_pieces_before_one_comes_again(
    corpus, batches, monkeypatch
):
    order = []
    piece = TokenCorpus.piece

    def recorded(self, index):
        order.append(int(index))
        return piece(self, index)

    monkeypatch.setattr(TokenCorpus, "piece", recorded)
    list(batches().take(20))
    size = len(corpus.pieces("train"))
    assert len(order) > 2 * size
    first, second = order[:size], order[size : 2 * size]
    assert sorted(first) == sorted(second) == corpus.pieces("train").tolist()
    assert first != second


def test_a_split_without_a_document_is_refused(batches, corpus, tiny_tokenizer):
    corpus.is_held_out[:] = False
    with pytest.raises(ValueError, match="no document for `split='validation'"):
        batches("validation")
