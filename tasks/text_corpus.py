"""Documents to token ids on disk.

Long documents are cut between paragraphs into pieces, so that shuffling pieces
mixes a corpus in which one document is a whole novel.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from keras_prompt.atomic_files import new_folder
from keras_prompt.tasks.documents import Document, DocumentSource
from keras_prompt.tokenizer import Tokenizer

_PIECE_TOKENS = 1024  # a piece ends with the paragraph that reaches this
_HELD_OUT_EVERY = 100  # one document in so many is for validation

Progress = Callable[[str, int], None]


@dataclasses.dataclass(frozen=True)
class TokenCorpus:
    """Token ids of all pieces, one after another.

    Attributes:
        tokens: uint16 or int32, flat; memory-mapped.
        starts: int64, where each piece starts, and one more for the end.
        is_held_out: bool, one a piece: its document is for validation.
    """

    tokens: npt.NDArray[np.integer]
    starts: npt.NDArray[np.int64]
    is_held_out: npt.NDArray[np.bool_]

    def piece(self, index: int) -> npt.NDArray[np.int32]:
        """The token ids of one piece, without EOS."""
        start, end = self.starts[index], self.starts[index + 1]
        return np.asarray(self.tokens[start:end], np.int32)

    def pieces(self, split: str) -> npt.NDArray[np.int64]:
        """Indices of the pieces of the "train" or "validation" split."""
        return np.flatnonzero(self.is_held_out == (split == "validation"))


def tokenize(
    sources: Sequence[DocumentSource],
    tokenizer: Tokenizer,
    cache: Path,
    progress: Progress = lambda *_: None,
) -> TokenCorpus:
    """Tokenizes documents once; a second call reads the cache.

    Args:
        sources: of the documents.
        tokenizer: whose ids to store.
        cache: a folder for the token ids; sources or a vocabulary that
            changed are tokenized anew.
        progress: told each source's name and all documents so far.

    Raises:
        FileNotFoundError: a source is absent.
        ValueError: a source is no text, or there is no document in any.
    """
    digest = hashlib.sha256(tokenizer.model_proto)
    for source in sources:
        digest.update(f"{source.version()}\n".encode())
    folder = cache / digest.hexdigest()[:16]
    if not (folder / "card.json").is_file():
        _write(sources, tokenizer, folder, progress)
    return TokenCorpus(
        tokens=np.load(folder / "tokens.npy", mmap_mode="r"),
        starts=np.load(folder / "starts.npy"),
        is_held_out=np.load(folder / "is_held_out.npy"),
    )


def numbered_documents(
    sources: Sequence[DocumentSource], progress: Progress = lambda *_: None
) -> Iterator[tuple[Document, bool]]:
    """Every document, and whether it is held out for validation."""
    number = 0
    for source in sources:
        for document in source.documents():
            yield document, number % _HELD_OUT_EVERY == 0
            number += 1
            if number % 100 == 0:
                progress(source.name, number)


def _write(
    sources: Sequence[DocumentSource],
    tokenizer: Tokenizer,
    folder: Path,
    progress: Progress,
) -> None:
    dtype = np.uint16 if tokenizer.vocabulary_size < 2**16 else np.int32
    lengths: list[int] = []
    held_out: list[bool] = []
    parts: list[npt.NDArray[np.integer]] = []
    for document, is_held_out in numbered_documents(sources, progress):
        for piece in _pieces(document, tokenizer):
            parts.append(np.asarray(piece, dtype))
            lengths.append(len(piece))
            held_out.append(is_held_out)
    if not parts:
        names = ", ".join(source.name for source in sources)
        raise ValueError(f"There is no text in {names}.")
    card = {
        "sources": [source.version() for source in sources],
        "pieces": len(lengths),
        "tokens": sum(lengths),
    }
    starts = np.cumsum([0, *lengths], dtype=np.int64)
    with new_folder(folder) as partial:
        np.save(partial / "tokens.npy", np.concatenate(parts))
        np.save(partial / "starts.npy", starts)
        np.save(partial / "is_held_out.npy", np.asarray(held_out))
        card_text = json.dumps(card, indent=2) + "\n"
        (partial / "card.json").write_text(card_text)


def _pieces(
    paragraphs: Sequence[str], tokenizer: Tokenizer
) -> Iterator[list[int]]:
    piece: list[int] = []
    for paragraph in paragraphs:
        piece += tokenizer.encode(paragraph)
        if len(piece) >= _PIECE_TOKENS:
            yield piece
            piece = []
    if piece:
        yield piece
