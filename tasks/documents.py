"""Where the documents of a corpus come from: text files, tfds, SeqIO.

A document is a list of paragraphs. Every source is written as one word, so
that a command line, a recipe and a run's record can name it:

    corpus/novels.txt.xz               a text file, plain, .gz or .xz
    tfds:wiki40b/en/train:text         data set, split and feature
    seqio:c4_v220_span_corruption      a task that t5 registers
    seqio:my_tasks:my_corpus           a task that the module my_tasks registers
"""

import dataclasses
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

Document = list[str]

_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}


class DocumentSource(Protocol):
    """Gives the documents of one source, always in the same order."""

    @property
    def name(self) -> str:
        """What to call it while it is read."""

    def version(self) -> str:
        """Another text when the source's documents are others.

        Raises:
            FileNotFoundError: there is no such source.
            ValueError: it has no such split, feature or task.
        """

    def documents(self) -> Iterator[Document]:
        """The paragraphs of each document; none is empty.

        Raises:
            ValueError: what is read is no text.
        """


def document_source(word: str | Path) -> DocumentSource:
    """The source that a word names.

    Raises:
        ValueError: it begins with "tfds:" or "seqio:" and goes on otherwise
            than the forms above.
    """
    # Both import TensorFlow.
    if str(word).startswith("tfds:"):
        from keras_prompt.tasks.tfds_documents import TfdsDocuments

        return TfdsDocuments.parse(str(word))
    if str(word).startswith("seqio:"):
        from keras_prompt.tasks.seqio_documents import SeqioDocuments

        return SeqioDocuments.parse(str(word))
    return TextFile(Path(word))


@dataclasses.dataclass(frozen=True)
class TextFile:
    """A text file: a line is a paragraph, blank lines divide documents.

    Attributes:
        path: of UTF-8 text, compressed as its suffix says.
    """

    path: Path

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    def version(self) -> str:
        """Name, size and time of the last change.

        Raises:
            FileNotFoundError: there is no such file.
        """
        if not self.path.is_file():
            raise FileNotFoundError(f"No text file at {self.path}.")
        about = self.path.stat()
        return f"{self.name} {about.st_size} {about.st_mtime_ns}"

    def documents(self) -> Iterator[Document]:
        """The paragraphs of each document.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not UTF-8 text, or compressed otherwise than
                named, or cut off.
        """
        self.version()
        opener = _OPENERS.get(self.path.suffix, open)
        try:
            with opener(self.path, "rt", encoding="utf-8") as lines:
                yield from _divided(lines)
        except (
            UnicodeDecodeError,
            lzma.LZMAError,
            gzip.BadGzipFile,
            zlib.error,
            EOFError,
        ) as error:
            raise ValueError(
                f"{self.path} must hold UTF-8 text, compressed as its suffix "
                f"says. Received: {error}"
            ) from error


def paragraphs_of(text: str) -> Document:
    """The lines of a text that are not blank."""
    return [line for line in map(str.strip, text.splitlines()) if line]


def _divided(lines: Iterator[str]) -> Iterator[Document]:
    paragraphs: Document = []
    for line in lines:
        if line := line.strip():
            paragraphs.append(line)
        elif paragraphs:
            yield paragraphs
            paragraphs = []
    if paragraphs:
        yield paragraphs
