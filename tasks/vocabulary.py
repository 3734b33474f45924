"""Trains a SentencePiece vocabulary with T5's special ids on documents."""

import io
from collections.abc import Iterator, Sequence

import sentencepiece

from keras_prompt.tasks.documents import DocumentSource
from keras_prompt.tasks.text_corpus import Progress, numbered_documents

# SentencePiece's unigram training keeps its text in memory, several times.
_MOST_CHARACTERS = 35_000_000


def train_vocabulary(
    sources: Sequence[DocumentSource],
    pieces: int,
    progress: Progress = lambda *_: None,
    most_characters: int = _MOST_CHARACTERS,
) -> bytes:
    """A unigram model of so many pieces: pad 0, EOS 1, unknown 2, no BOS.

    T5's 100 sentinels are none of the pieces; `Tokenizer` adds them. Of a
    larger corpus every n-th document is taken; documents that validate the
    model are left out. The same documents give the same vocabulary.

    Args:
        sources: of the documents.
        pieces: of the vocabulary, the three special ones included.
        progress: told each source's name and all documents so far.
        most_characters: to train on, about.

    Returns:
        A serialized SentencePiece model, what a `spiece.model` file holds.

    Raises:
        FileNotFoundError: a source is absent.
        ValueError: a source is no text, or they are too few for so many
            pieces.
    """
    characters = sum(map(len, _paragraphs(sources, progress)))
    stride = -(-characters // most_characters)
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_paragraphs(sources, progress, max(stride, 1)),
            model_writer=model,
            vocab_size=pieces,
            model_type="unigram",
            # Longer sentences are left out; a paragraph is one here.
            max_sentence_length=1_000_000,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            minloglevel=2,
        )
    except RuntimeError as error:
        names = ", ".join(source.name for source in sources)
        raise ValueError(
            f"SentencePiece finds no {pieces} pieces in {characters:,} "
            f"characters of {names}: {' '.join(str(error).split())}"
        ) from error
    return model.getvalue()


def _paragraphs(
    sources: Sequence[DocumentSource], progress: Progress, stride: int = 1
) -> Iterator[str]:
    """The paragraphs of every n-th document that is not held out."""
    trained = 0
    for document, is_held_out in numbered_documents(sources, progress):
        if not is_held_out:
            if trained % stride == 0:
                yield from document
            trained += 1
