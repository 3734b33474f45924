"""SentencePiece token ids with T5's conventions: pad 0, EOS 1, unknown 2.

A T5 vocabulary is the pieces of its SentencePiece model followed by 100
sentinels, numbered backwards: `<extra_id_0>` is the last id. mT5's model
(`mc4.250000.100extra`) holds the sentinels itself, as its last pieces.
"""

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sentencepiece
import tensorflow as tf

from keras_prompt.types import Tensor

SENTINELS = 100  # T5's number of span-corruption sentinels (seqio: extra_ids)
_SENTINEL = re.compile(r"<extra_id_([0-9]{1,2})>")


class Tokenizer:
    """Turns text into token ids and back.

    Args:
        model_proto: a serialized SentencePiece model whose pad, EOS and
            unknown ids are 0, 1 and 2.

    Raises:
        ValueError: the bytes are no SentencePiece model, or its special ids
            are not T5's.
    """

    pad_id = 0
    eos_id = 1
    unk_id = 2

    def __init__(self, model_proto: bytes) -> None:
        try:
            self._processor = sentencepiece.SentencePieceProcessor(
                model_proto=model_proto
            )
        except RuntimeError as error:
            raise ValueError(
                "`model_proto` must be a serialized SentencePiece model "
                f"(a `spiece.model` file). Received {len(model_proto)} bytes "
                f"that SentencePiece refuses: {error}"
            ) from error
        self.model_proto = model_proto
        special = (
            self._processor.pad_id(),
            self._processor.eos_id(),
            self._processor.unk_id(),
        )
        if special != (self.pad_id, self.eos_id, self.unk_id):
            raise ValueError(
                "A T5 vocabulary has pad, EOS and unknown at ids 0, 1 and 2. "
                f"Received a SentencePiece model with {special}."
            )

    @classmethod
    def from_file(cls, path: str | Path) -> "Tokenizer":
        """Reads a `spiece.model` file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no SentencePiece model.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"No vocabulary at {path}: expected a SentencePiece model "
                "file such as `spiece.model`."
            )
        return cls(path.read_bytes())

    def save(self, path: str | Path) -> None:
        """Writes the SentencePiece model, byte for byte as it was read."""
        Path(path).write_bytes(self.model_proto)

    @functools.cached_property
    def piece_count(self) -> int:
        """Ids below this are SentencePiece's, those from it are sentinels."""
        size = int(self._processor.get_piece_size())
        last = self._processor.id_to_piece(size - 1).removeprefix("\u2581")
        return size - SENTINELS if last == "<extra_id_0>" else size

    @property
    def vocabulary_size(self) -> int:
        """Pieces and sentinels; a model's table may have more rows."""
        return self.piece_count + SENTINELS

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without EOS; sentinels are understood."""
        ids: list[int] = []
        start = 0
        for match in _SENTINEL.finditer(text):
            ids += self._processor.encode(text[start : match.start()])
            ids.append(self.vocabulary_size - 1 - int(match.group(1)))
            start = match.end()
        return ids + self._processor.encode(text[start:])

    def decode(self, token_ids: Iterable[int]) -> str:
        """The text of token ids up to the first EOS, padding left out."""
        parts: list[str] = []
        run: list[int] = []
        for token_id in token_ids:
            token_id = int(token_id)
            if token_id == self.eos_id:
                break
            if token_id < self.piece_count:
                if token_id != self.pad_id:
                    run.append(token_id)
                continue
            parts += [self._processor.decode(run), self.piece(token_id)]
            run = []
        parts.append(self._processor.decode(run))
        return " ".join(part for part in parts if part)

    def piece(self, token_id: int) -> str:
        """The vocabulary entry of one id, as SentencePiece writes it."""
        if token_id < self.piece_count:
            return str(self._processor.id_to_piece(int(token_id)))
        if token_id < self.vocabulary_size:
            return f"<extra_id_{self.vocabulary_size - 1 - token_id}>"
        return f"<unused_{token_id}>"

    @property
    def graph_processor(self) -> Any:
        """TensorFlow Text's ops, a `tf.Module`; sentinels are plain text."""
        import tensorflow_text  # its op library takes a second to load

        # Made anew each time, as TensorFlow keeps what an equal operation
        # loaded: one kept here would be lost with
        # `keras.utils.clear_session()`, or with the graph being traced.
        return tensorflow_text.SentencepieceTokenizer(
            model=self.model_proto, out_type=tf.int32
        )

    def encode_tensor(self, texts: Tensor) -> tf.RaggedTensor:
        """Token ids in a graph, without EOS; sentinels are plain text here.

        Args:
            texts: string (B,).

        Returns:
            int32 (B, ragged).
        """
        return self.graph_processor.tokenize(texts)
