"""The model: what it computes, generates and scores."""

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from keras_prompt.layers.prompt_bank import PromptBank
from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models.plain_t5 import PlainT5
from keras_prompt.models.prompt_bank_t5 import PromptBankT5
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.variables import parameter_count
from keras_prompt.optimizers import Adafactor


@pytest.fixture(params=["float32", "int8"])
def model_dtype(request):
    return request.param


TEXTS = ["the film is a delight", "a dull film", "the cast"]


def features(tokenizer, texts, targets):
    from keras_prompt.models.text_batches import pad_rows, text_batches

    x = next(text_batches(texts, tokenizer, len(texts), 64)).features
    y = pad_rows([[*tokenizer.encode(t), 1] for t in targets])
    x["decoder_token_ids"] = np.pad(y[:, :-1], [(0, 0), (1, 0)])
    return x, y


def test_a_prompt_of_real_tokens_is_those_tokens_as_text(tiny_model):
    tokenizer = tiny_model.tokenizer
    x, _ = features(tokenizer, TEXTS, ["a", "a film", "the"])
    front = tokenizer.encode("a wonderful")[:3]
    assert len(front) == 3
    table = tiny_model.backbone.embedding_table()
    tiny_model.prompt.embeddings.assign(table[front])
    prompted = tiny_model(x).numpy()
    ids = np.pad(x["encoder_token_ids"], [(0, 0), (3, 0)])
    ids[:, :3] = front
    mask = np.pad(
        x["encoder_padding_mask"], [(0, 0), (3, 0)], constant_values=True
    )
    backbone = tiny_model.backbone
    as_text = backbone(backbone.embed(ids), mask, x["decoder_token_ids"])
    np.testing.assert_allclose(prompted, as_text, rtol=1e-5, atol=1e-5)


def test_more_padding_changes_no_logit(tiny_model):
    x, _ = features(tiny_model.tokenizer, TEXTS, ["a", "a film", "the"])
    logits = tiny_model(x).numpy()
    wider = dict(x)
    for name in ("encoder_token_ids", "encoder_padding_mask"):
        wider[name] = np.pad(x[name], [(0, 0), (0, 9)])
    np.testing.assert_allclose(tiny_model(wider), logits, rtol=1e-5, atol=1e-5)


def test_one_trace_takes_any_batch_and_length(tiny_model):
    traces = []

    def run(**x):
        traces.append(1)
        return tiny_model(x)

    run = tf.function(run, autograph=False).get_concrete_function(
        encoder_token_ids=tf.TensorSpec([None, None], tf.int32),
        encoder_padding_mask=tf.TensorSpec([None, None], tf.bool),
        decoder_token_ids=tf.TensorSpec([None, None], tf.int32),
    )
    for texts in (TEXTS, TEXTS[:1]):
        x, _ = features(tiny_model.tokenizer, texts, ["a"] * len(texts))
        found = run(**{k: tf.constant(v) for k, v in x.items()})
        np.testing.assert_allclose(found, tiny_model(x), rtol=1e-5, atol=1e-5)
    assert len(traces) == 1


def test_score_is_the_sum_of_the_targets_log_probabilities(tiny_model):
    targets = ["a", "a delight", "the film is"]
    x, y = features(tiny_model.tokenizer, TEXTS, targets)
    log_probabilities = tf.nn.log_softmax(tiny_model(x)).numpy()
    expected = [
        sum(
            log_probabilities[row, t, y[row, t]]
            for t in range(y.shape[1])
            if y[row, t]
        )
        for row in range(3)
    ]
    found = tiny_model.score(TEXTS, targets)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    alone = [
        tiny_model.score([t], [y_])[0]
        for t, y_ in zip(TEXTS, targets, strict=True)
    ]
    np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-5)


def test_rank_scores_every_label_and_encodes_each_text_once(
    tiny_model, monkeypatch
):
    labels = ["positive", "a", "not_entailment"]
    encoded = []
    encode = tiny_model.backbone.encode
    monkeypatch.setattr(
        tiny_model.backbone,
        "encode",
        lambda x, mask: encoded.append(x.shape) or encode(x, mask),
    )
    found = tiny_model.rank(TEXTS, labels, batch_size=3)
    assert len(encoded) == 1
    monkeypatch.undo()
    expected = np.stack(
        [tiny_model.score(TEXTS, [label] * 3) for label in labels], axis=1
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_many_labels_are_scored_in_parts(tiny_model):
    labels = [f"{'a ' * (i % 3)}film {i}" for i in range(70)]
    found = tiny_model.rank(TEXTS, labels)
    assert found.shape == (3, 70)
    expected = [
        [tiny_model.score([text], [label])[0] for label in labels[60:]]
        for text in TEXTS
    ]
    np.testing.assert_allclose(found[:, 60:], expected, rtol=1e-5, atol=1e-5)


def greedy_without_cache(model, texts, length):
    """Greedy decoding that runs the whole decoder for every token."""
    x, _ = features(model.tokenizer, texts, ["a"] * len(texts))
    tokens = np.zeros((len(texts), 1), np.int32)
    for _ in range(length):
        logits = model({**x, "decoder_token_ids": tokens}).numpy()[:, -1]
        ended = (tokens == 1).any(axis=1)
        chosen = np.where(ended, 0, logits.argmax(axis=-1))
        tokens = np.concatenate([tokens, chosen[:, None]], axis=1)
    return [model.tokenizer.decode(row[1:]) for row in tokens]


def test_cached_generation_is_uncached_generation(tiny_model):
    found = tiny_model.generate(TEXTS, max_length=12)
    assert found == greedy_without_cache(tiny_model, TEXTS, 12)
    assert any(found)


@pytest.mark.parametrize("sampler", ["greedy", "beam"])
def test_batched_generation_is_single_generation(tiny_model, sampler):
    together = tiny_model.generate(TEXTS, max_length=8, sampler=sampler)
    alone = [
        tiny_model.generate([text], max_length=8, sampler=sampler)[0]
        for text in TEXTS
    ]
    assert together == alone


def test_beams_take_batches_of_the_same_rows_and_other_lengths(tiny_model):
    """Such batches are traced with one size known and the other not."""
    texts = [*TEXTS, "he runs every morning and she walks to school"]
    found = tiny_model.generate(
        texts, max_length=4, batch_size=2, sampler="beam"
    )
    other = PromptTunedT5(tiny_model.backbone, tiny_model.tokenizer, 3)
    other.prompt.embeddings.assign(tiny_model.prompt.embeddings)
    alone = [other.generate([t], max_length=4, sampler="beam") for t in texts]
    assert [[one] for one in found] == alone


def beam_without_cache(model, texts, max_length, num_beams):
    """Beam search in plain Python, every prefix decoded anew."""
    found = []
    for text in texts:
        x, _ = features(model.tokenizer, [text], ["a"])
        beams = [(0.0, [0])]
        for _ in range(max_length):
            extended = []
            for score, tokens in beams:
                if 1 in tokens:
                    extended.append((score, [*tokens, 0]))
                    continue
                decoder_token_ids = np.asarray([tokens])
                logits = model(x | {"decoder_token_ids": decoder_token_ids})
                steps = tf.nn.log_softmax(logits[0, -1]).numpy()
                extended += [
                    (score + step, [*tokens, token])
                    for token, step in enumerate(steps)
                ]
            beams = sorted(extended, reverse=True)[:num_beams]
        found.append(beams[0][1][1:])
    return found


def test_cached_beam_search_is_uncached_beam_search(tiny_model):
    tiny_model.initialize_prompt(lambda table, *_: 3 * table[5:8])
    # KerasHub's beam sampler keeps five beams by default.
    expected = beam_without_cache(tiny_model, TEXTS, 6, num_beams=5)
    # Beams that have ended compete with beams that still grow.
    assert 0 < sum(1 in tokens for tokens in expected) < len(TEXTS)
    found = tiny_model.generate(TEXTS, max_length=6, sampler="beam")
    assert found == [tiny_model.tokenizer.decode(ids) for ids in expected]
    assert found != tiny_model.generate(TEXTS, max_length=6)


def test_unknown_samplers_and_bare_strings_are_refused(tiny_model):
    with pytest.raises(ValueError, match="Did you mean 'greedy'"):
        tiny_model.generate(TEXTS, sampler="gredy")
    for sampler in (None, 5, lambda **_: 0):
        with pytest.raises(ValueError, match="`sampler` must be a sampler's"):
            tiny_model.generate(TEXTS, sampler=sampler)
    all_beams = keras_hub.samplers.BeamSampler(return_all_beams=True)
    with pytest.raises(ValueError, match="must give one output a text"):
        tiny_model.generate(TEXTS, sampler=all_beams)
    contrastive = keras_hub.samplers.ContrastiveSampler()
    with pytest.raises(ValueError, match="must need logits alone"):
        tiny_model.generate(TEXTS, sampler=contrastive)
    with pytest.raises(ValueError, match="sequence of strings"):
        tiny_model.generate("the film")
    with pytest.raises(ValueError, match="3 texts and 1 targets"):
        tiny_model.score(TEXTS, ["a"])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_only_the_prompt_changes_in_fit(tiny_model, jit_compile):
    x, y = features(tiny_model.tokenizer, TEXTS, ["a", "a film", "the"])
    before = {w.path: w.numpy().copy() for w in tiny_model.weights}
    tiny_model.compile(
        optimizer=Adafactor(0.3),
        loss=TokenCrossentropy(),
        jit_compile=jit_compile,
    )
    weights = (y != 0).astype(np.float32)
    losses = tiny_model.fit(
        x, y, sample_weight=weights, batch_size=3, epochs=8, verbose=0
    ).history["loss"]
    assert losses[-1] < losses[0]
    changed = [
        w.path
        for w in tiny_model.weights
        if (w.numpy() != before[w.path]).any()
    ]
    assert changed == ["prompt/embeddings"]
    slots = [
        v.path for v in tiny_model.optimizer.variables if "moment" in v.path
    ]
    assert slots == ["adafactor/prompt_embeddings_second_moment"]
    evaluated = tiny_model.evaluate(x, y, sample_weight=weights, verbose=0)
    assert evaluated < losses[0]
    assert tiny_model.predict(x, verbose=0).shape == (
        *y.shape,
        tiny_model.backbone.config.vocab_size,
    )


def test_summary_states_frozen_and_trainable_counts(tiny_model):
    lines = []
    tiny_model.summary(print_fn=None)  # Keras' default
    tiny_model.summary(print_fn=lines.append)
    frozen = parameter_count(tiny_model.backbone.config)
    assert (
        f"Frozen parameters: {frozen:,} · trainable (the prompt): 48"
        in lines[-1]
    )


def test_dropout_acts_in_training_only(tiny_tokenizer):
    config = T5Config(tiny_tokenizer.vocabulary_size, 16, 4, 24, 2, 1, 1)
    backbone = MeshT5Backbone(config, dropout_rate=0.5)
    model = PromptTunedT5(backbone, tiny_tokenizer, 2)
    x, _ = features(tiny_tokenizer, TEXTS, ["a"] * 3)
    still = model(x).numpy()
    np.testing.assert_array_equal(model(x, training=False), still)
    first, second = model(x, training=True).numpy(), model(x, training=True)
    assert np.abs(first - still).max() > 1e-3
    assert np.abs(first - second).max() > 1e-3


def test_one_string_or_none_is_no_labels(tiny_model):
    for answer, message in (
        (lambda: tiny_model.rank(TEXTS, "no"), "`labels` must be a sequence"),
        (lambda: tiny_model.rank(TEXTS, []), "at least one label"),
        (lambda: tiny_model.score(["a", "b"], "no"), "`targets` must be a seq"),
    ):
        with pytest.raises(ValueError, match=message):
            answer()


def test_max_length_and_the_start_token_must_be_countable(tiny_model):
    with pytest.raises(
        ValueError, match="`max_length` must be at most 2,147,483,646"
    ):
        tiny_model.generate(TEXTS, max_length=2**31 - 1)


@pytest.mark.parametrize("max_length", [0, -1, 1.5, "8"])
def test_max_length_must_be_a_positive_integer(tiny_model, max_length):
    with pytest.raises(
        ValueError, match="`max_length` must be a positive integer"
    ):
        tiny_model.generate(TEXTS, max_length=max_length)


def test_fit_takes_what_keras_fit_takes(tiny_model):
    x, y = features(tiny_model.tokenizer, TEXTS, ["a", "a film", "the"])
    with pytest.raises(ValueError, match=r"call `compile\(\)` before"):
        tiny_model.fit(x, y)
    tiny_model.compile(Adafactor(0.3), TokenCrossentropy())
    ends = []
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: ends.append(epoch)
    )
    tiny_model.fit(x, y, callbacks=callback, verbose=0)
    assert ends == [0]


def test_saving_it_whole_says_what_to_do_instead(tiny_model, tmp_path):
    for save in (
        lambda: tiny_model.save(tmp_path / "model.keras"),
        tiny_model.to_json,
        lambda: keras.models.clone_model(tiny_model),
    ):
        with pytest.raises(NotImplementedError, match="export_prompt") as error:
            save()
        assert "its preset, tiny" in str(error.value)
    assert not list(tmp_path.iterdir())


def test_keras_export_says_what_to_do_instead(tiny_model, tmp_path):
    with pytest.raises(NotImplementedError, match=r"export_prompt.*t_server"):
        tiny_model.export(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_score_that_is_no_number_is_worse_than_any(tiny_model):
    for step, score in enumerate([float("nan"), 50.0, float("nan"), 40.0]):
        tiny_model.keep_best("films", score, step)
    assert tiny_model.best.score == 50.0
    assert tiny_model.best.step == 1


def test_symbolic_logits_are_float32(tiny_tokenizer):
    config = T5Config(tiny_tokenizer.vocabulary_size, 16, 4, 24, 2, 1, 1)
    backbone = MeshT5Backbone(config, dtype="bfloat16")
    logits = backbone(
        keras.KerasTensor((None, 5, 16), "bfloat16"),
        keras.KerasTensor((None, 5), "bool"),
        keras.KerasTensor((None, 3), "int32"),
    )
    assert logits.dtype == "float32"
    assert logits.shape == (None, 3, tiny_tokenizer.vocabulary_size)


@pytest.mark.parametrize(
    "make",
    [
        lambda *base: PromptTunedT5(*base, prompt_length=2),
        lambda *base: PromptBankT5(*base, PromptBank({"a": 2})),
        PlainT5,
    ],
)
def test_a_tokenizer_of_more_ids_than_the_t5_has_is_refused(
    tiny_tokenizer, make
):
    ids = tiny_tokenizer.vocabulary_size
    config = T5Config(ids - 1, 4, 4, 4, 1, 1, 1)
    message = f"no more ids than the T5, {ids - 1}: .* of {ids}$"
    with pytest.raises(ValueError, match=message):
        make(MeshT5Backbone(config), tiny_tokenizer)
    fits = make(MeshT5Backbone(T5Config(ids, 4, 4, 4, 1, 1, 1)), tiny_tokenizer)
    assert fits.vocabulary_size == ids


@pytest.mark.parametrize("dtype", ["float16", "mixed_float16", "int4"])
def test_float16_is_refused_with_the_reason(dtype):
    config = T5Config(16, 4, 4, 4, 1, 1, 1)
    with pytest.raises(ValueError, match=r"65,504"):
        MeshT5Backbone(config, dtype=dtype)


def test_fingerprints_tell_weights_apart_but_not_storage():
    config = T5Config(16, 4, 4, 4, 1, 1, 1)
    first = MeshT5Backbone(config, seed=0).fingerprint()
    stored = MeshT5Backbone(config, seed=0, dtype="bfloat16")
    assert stored.fingerprint() == first
    assert MeshT5Backbone(config, seed=1).fingerprint() != first


def test_an_unfrozen_backbone_learns():
    config = T5Config(16, 4, 4, 4, 1, 1, 1)
    backbone = MeshT5Backbone(config, trainable=True)
    ids = np.array([[3, 4, 5]])
    with tf.GradientTape() as tape:
        logits = backbone(backbone.embed(ids), ids > 0, ids)
        loss = tf.reduce_mean(tf.square(logits))
    weights = [w.value for w in backbone.trainable_weights]
    gradients = tape.gradient(loss, weights)
    assert len(weights) == len(backbone.weights)
    norms = [
        float(keras.ops.norm(keras.ops.reshape(tf.convert_to_tensor(g), [-1])))
        for g in gradients
    ]
    assert all(norm > 0 for norm in norms)
