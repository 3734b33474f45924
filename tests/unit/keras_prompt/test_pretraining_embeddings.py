"""Pre-training whose embeddings start from co-occurrence."""

import dataclasses

import numpy as np
import pytest

from keras_prompt.tasks.documents import document_source
from keras_prompt.tasks.text_corpus import tokenize
from keras_prompt.tasks.word_vectors import word_vectors
from keras_prompt.training.pretraining import run as run_module
from keras_prompt.training.pretraining.config import PretrainConfig
from keras_prompt.training.pretraining.run import pretrain


@pytest.fixture
def config(tmp_path, tiny_tokenizer):
    """Two steps, validated after each."""
    text = tmp_path / "corpus.txt"
    text.write_text(
        "\n\n".join(f"the film {i} is a delight " * 20 for i in range(300))
    )
    tiny_tokenizer.save(tmp_path / "vocabulary.model")
    return PretrainConfig(
        texts=(str(text),),
        output=str(tmp_path / "run"),
        vocabulary=str(tmp_path / "vocabulary.model"),
        embeddings="cooccurrence",
        d_model=8,
        d_kv=4,
        d_ff=8,
        num_heads=2,
        num_encoder_layers=1,
        num_decoder_layers=1,
        steps=2,
        evaluate_every=1,
        batch_size=2,
        input_length=32,
        warmup_steps=100,
        dtype="float32",
    )


@pytest.fixture
def starts(monkeypatch):
    """The embeddings that runs begin with, in turn."""
    seen = []
    start = run_module._start_embeddings

    def watched(backbone, vectors):
        seen.append(np.array(backbone.embedding_table()))
        start(backbone, vectors)
        seen.append(np.array(backbone.embedding_table()))

    monkeypatch.setattr(run_module, "_start_embeddings", watched)
    return seen


def test_pieces_of_the_texts_start_from_their_neighbours(
    config, tiny_tokenizer, tmp_path, starts
):
    pretrain(config)
    before, after = starts
    corpus = tokenize(
        [document_source(config.texts[0])], tiny_tokenizer, tmp_path / "again"
    )
    vectors = word_vectors(corpus, tiny_tokenizer.vocabulary_size, 8)
    known = sorted(vectors)
    assert 0 < len(known) < tiny_tokenizer.vocabulary_size
    np.testing.assert_array_equal(after[known], [vectors[i] for i in known])
    others = np.setdiff1d(np.arange(len(before)), known)
    np.testing.assert_array_equal(after[others], before[others])


def test_a_run_that_goes_on_keeps_what_it_has_learnt(config, starts):
    pretrain(dataclasses.replace(config, steps=1))
    pretrain(config)
    assert len(starts) == 2  # of the first run alone


def test_an_adaptation_has_the_base_s_embeddings(config):
    with pytest.raises(ValueError, match="without a base, 'cooccurrence'"):
        dataclasses.replace(
            config, vocabulary=None, base="x", objective="prefix_lm"
        )
    with pytest.raises(ValueError, match="embeddings='glove'"):
        dataclasses.replace(config, embeddings="glove")
