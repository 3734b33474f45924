"""Token ids on disk: pieces, held-out documents, the cache; vocabularies."""

import os
from pathlib import Path

import numpy as np
import pytest

from keras_prompt.tasks import text_corpus
from keras_prompt.tasks.documents import document_source
from keras_prompt.tasks.text_corpus import tokenize
from keras_prompt.tasks.vocabulary import train_vocabulary
from keras_prompt.tokenizer import Tokenizer


@pytest.fixture
def source(tmp_path):
    """250 documents of two paragraphs."""
    path = tmp_path / "corpus.txt"
    documents = [f"the film is dull\nthe cast {i} runs" for i in range(250)]
    path.write_text("\n\n".join(documents))
    return document_source(path)


def test_a_piece_is_a_document_s_paragraphs_as_token_ids(
    source, tiny_tokenizer, tmp_path
):
    corpus = tokenize([source], tiny_tokenizer, tmp_path / "cache")
    assert len(corpus.starts) == 251
    np.testing.assert_array_equal(
        corpus.piece(1),
        tiny_tokenizer.encode("the film is dull")
        + tiny_tokenizer.encode("the cast 1 runs"),
    )
    assert corpus.tokens.dtype == np.uint16


def test_long_documents_are_cut_between_paragraphs(
    tmp_path, tiny_tokenizer, monkeypatch
):
    monkeypatch.setattr(text_corpus, "_PIECE_TOKENS", 5)
    path = tmp_path / "novel.txt"
    path.write_text("the film is dull and long\nshort\nthe moon at a dog\nx")
    corpus = tokenize(
        [document_source(path)], tiny_tokenizer, tmp_path / "cache"
    )
    ends = np.cumsum(
        [
            len(tiny_tokenizer.encode(line))
            for line in path.read_text().splitlines()
        ]
    )
    assert set(corpus.starts) <= {0, *ends}
    assert len(corpus.starts) > 2
    # Pieces of one document are on one side.
    assert corpus.is_held_out.all()


def test_one_document_in_a_hundred_is_held_out(
    source, tiny_tokenizer, tmp_path
):
    corpus = tokenize([source], tiny_tokenizer, tmp_path / "cache")
    assert corpus.pieces("validation").tolist() == [0, 100, 200]
    train = set(corpus.pieces("train").tolist())
    assert train == set(range(250)) - {0, 100, 200}


def test_a_second_call_reads_the_cache_and_a_changed_file_does_not(
    source, tiny_tokenizer, tmp_path
):
    said = []

    def told(name, documents):
        said.append((name, documents))

    cache = tmp_path / "cache"
    tokenize([source], tiny_tokenizer, cache, told)
    assert said == [("corpus.txt", 100), ("corpus.txt", 200)]
    tokenize([source], tiny_tokenizer, cache, told)
    assert len(said) == 2
    source.path.write_text("the film is dull\n\n" * 300)
    corpus = tokenize([source], tiny_tokenizer, cache, told)
    assert len(said) == 5
    assert len(corpus.starts) == 301


def test_a_cache_that_was_not_finished_is_made_anew(
    source, tiny_tokenizer, tmp_path
):
    cache = tmp_path / "cache"
    whole = np.array(tokenize([source], tiny_tokenizer, cache).tokens)
    (card,) = cache.glob("*/card.json")
    card.unlink()
    (card.parent / "tokens.npy").write_bytes(b"half")
    again = tokenize([source], tiny_tokenizer, cache)
    np.testing.assert_array_equal(again.tokens, whole)


def test_a_cache_is_on_the_disk_before_it_is_in_its_place(
    source, tiny_tokenizer, tmp_path, monkeypatch
):
    synced = set()
    fsync = os.fsync

    def noted(descriptor):
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        assert not list((tmp_path / "cache").glob("[!.]*/card.json")) or (
            path == tmp_path / "cache"
        )
        synced.add(path.name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    tokenize([source], tiny_tokenizer, tmp_path / "cache")
    (card,) = (tmp_path / "cache").glob("*/card.json")
    assert {path.name for path in card.parent.iterdir()} <= synced


def test_a_cache_that_cannot_be_written_leaves_nothing(
    source, tiny_tokenizer, tmp_path, monkeypatch
):
    def full_disk(path, values):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full_disk)
        with pytest.raises(OSError, match="No space left"):
            tokenize([source], tiny_tokenizer, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    tokenize([source], tiny_tokenizer, tmp_path / "cache")


def test_sources_without_a_document_are_refused(tiny_tokenizer, tmp_path):
    path = tmp_path / "blank.txt"
    path.write_text("\n \n")
    with pytest.raises(ValueError, match=r"no text in blank\.txt"):
        tokenize([document_source(path)], tiny_tokenizer, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_trained_vocabulary_has_t5_s_ids_and_is_the_same_again(source):
    model_proto = train_vocabulary([source], 40)
    tokenizer = Tokenizer(model_proto)  # refuses other special ids
    assert tokenizer.piece_count == 40
    assert tokenizer.decode(tokenizer.encode("the film runs")) == (
        "the film runs"
    )
    assert train_vocabulary([source], 40) == model_proto


def test_a_vocabulary_leaves_out_what_validates(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("zzz zzz\n\n" + "the film is dull and runs\n\n" * 90)
    vocabulary = Tokenizer(train_vocabulary([document_source(path)], 18))
    assert 2 in vocabulary.encode("zzz")  # unknown


def test_a_vocabulary_of_a_large_corpus_takes_every_nth_document(tmp_path):
    path = tmp_path / "corpus.txt"
    # After the held-out first one, even documents have no z.
    lines = ["x", *["the film is dull", "a zebra runs"] * 40]
    path.write_text("\n\n".join(lines))
    source = [document_source(path)]
    half = Tokenizer(train_vocabulary(source, 15, most_characters=700))
    assert 2 in half.encode("z")
    assert 2 not in Tokenizer(train_vocabulary(source, 20)).encode("z")


def test_too_few_texts_for_a_vocabulary_are_refused(source):
    with pytest.raises(ValueError, match=r"finds no 5000 pieces .*corpus\.txt"):
        train_vocabulary([source], 5000)
