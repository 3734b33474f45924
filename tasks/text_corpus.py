"""Plain text files to token ids on disk, divided into documents.

A document is the lines between two blank lines; a line is a paragraph. Long
documents are cut between paragraphs into pieces, so that shuffling pieces
mixes a corpus in which one document is a whole novel.
"""

import dataclasses
import gzip
import hashlib
import json
import lzma
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_prompt.tokenizer import Tokenizer

_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}
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


def read_documents(path: Path) -> Iterator[list[str]]:
    """The paragraphs of each document of a text file (plain, .gz or .xz).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not UTF-8 text, or compressed otherwise than named.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No text file at {path}.")
    opener = _OPENERS.get(path.suffix, open)
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            paragraphs: list[str] = []
            for line in lines:
                if line := line.strip():
                    paragraphs.append(line)
                elif paragraphs:
                    yield paragraphs
                    paragraphs = []
            if paragraphs:
                yield paragraphs
    except (UnicodeDecodeError, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise ValueError(
            f"{path} must hold UTF-8 text, compressed as its suffix says. "
            f"Received: {error}"
        ) from error


def tokenize_files(
    paths: Sequence[Path],
    tokenizer: Tokenizer,
    cache: Path,
    progress: Progress = lambda *_: None,
) -> TokenCorpus:
    """Tokenizes files once; a second call reads the cache.

    Args:
        paths: text files.
        tokenizer: whose ids to store.
        cache: a folder for the token ids; files or a vocabulary that changed
            are tokenized anew.
        progress: told each file's name and its documents so far.

    Raises:
        FileNotFoundError: a file is absent.
        ValueError: a file is no text, or there is no document in any.
    """
    key = _cache_key(paths, tokenizer)
    folder = cache / key
    if not (folder / "card.json").is_file():
        _write(paths, tokenizer, folder, progress)
    return TokenCorpus(
        tokens=np.load(folder / "tokens.npy", mmap_mode="r"),
        starts=np.load(folder / "starts.npy"),
        is_held_out=np.load(folder / "is_held_out.npy"),
    )


def _cache_key(paths: Sequence[Path], tokenizer: Tokenizer) -> str:
    digest = hashlib.sha256(tokenizer.model_proto)
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"No text file at {path}.")
        digest.update(f"{path.name} {path.stat().st_size}".encode())
    return digest.hexdigest()[:16]


def _write(
    paths: Sequence[Path],
    tokenizer: Tokenizer,
    folder: Path,
    progress: Progress,
) -> None:
    dtype = np.uint16 if tokenizer.vocabulary_size < 2**16 else np.int32
    lengths: list[int] = []
    held_out: list[bool] = []
    parts: list[npt.NDArray[np.integer]] = []
    documents = 0
    for path in paths:
        for document in read_documents(path):
            is_held_out = documents % _HELD_OUT_EVERY == 0
            for piece in _pieces(document, tokenizer):
                parts.append(np.asarray(piece, dtype))
                lengths.append(len(piece))
                held_out.append(is_held_out)
            documents += 1
            if documents % 100 == 0:
                progress(path.name, documents)
    if not parts:
        names = ", ".join(str(path) for path in paths)
        raise ValueError(f"There is no text in {names}.")
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "tokens.npy", np.concatenate(parts))
    np.save(folder / "starts.npy", np.cumsum([0, *lengths], dtype=np.int64))
    np.save(folder / "is_held_out.npy", np.asarray(held_out))
    # Written last: its presence says that the others are complete.
    card = {"files": [path.name for path in paths], "documents": documents}
    temporary = folder / f"card.json.{os.getpid()}"
    temporary.write_text(json.dumps(card))
    temporary.replace(folder / "card.json")


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
