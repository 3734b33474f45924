"""Texts to padded token ids, for generating and scoring.

Letters: B batch, S the batch's longest input.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from keras_prompt.arguments import check_integers
from keras_prompt.tokenizer import Tokenizer

TokenIds = npt.NDArray[np.int32]
Features = dict[str, npt.NDArray[np.generic]]


class TextBatch(NamedTuple):
    """Some of the texts, as a model takes them.

    Attributes:
        rows: int32 (B,), which of the texts they are, in rising order.
        features: `encoder_token_ids` int32 (B, S), `encoder_padding_mask`
            bool (B, S).
    """

    rows: npt.NDArray[np.int32]
    features: Features


def text_batches(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    batch_size: int,
    input_length: int,
) -> Iterator[TextBatch]:
    """Batches of texts of similar length, each padded to its own longest.

    Args:
        texts: inputs; each gets an EOS.
        tokenizer: for their ids.
        batch_size: B; the last batch may be smaller.
        input_length: longer inputs lose their end, EOS kept.

    Raises:
        ValueError: `texts` are no strings, or one instead of several,
            `batch_size` is less than 1, or `input_length` less than 2.
    """
    check_texts(texts)
    check_integers(batch_size=(batch_size, 1), input_length=(input_length, 2))
    return _batches(
        [
            [*tokenizer.encode(text)[: input_length - 1], tokenizer.eos_id]
            for text in texts
        ],
        batch_size,
    )


def _batches(
    all_ids: Sequence[Sequence[int]], batch_size: int
) -> Iterator[TextBatch]:
    all_lengths = np.asarray([len(ids) for ids in all_ids], np.int32)
    by_length = np.argsort(all_lengths, kind="stable").astype(np.int32)
    for start in range(0, len(all_ids), batch_size):
        rows = np.sort(by_length[start : start + batch_size])
        token_ids = pad_rows([all_ids[row] for row in rows])
        positions = np.arange(token_ids.shape[1])
        yield TextBatch(
            rows,
            {
                "encoder_token_ids": token_ids,
                "encoder_padding_mask": positions < all_lengths[rows][:, None],
            },
        )


def check_texts(texts: Sequence[str], argument: str = "texts") -> None:
    """Refuses what is not several strings that can be encoded.

    A string is a sequence of strings, too, but never the one that was meant.

    Args:
        texts: what was given.
        argument: as what.

    Raises:
        ValueError: they are one string, no sequence, or not all text.
    """
    expected = f"`{argument}` must be a sequence of strings. "
    if isinstance(texts, str):
        raise ValueError(f"{expected}Received one string: {texts[:40]!r}")
    if (
        not hasattr(texts, "__len__")
        or isinstance(texts, (Set, Mapping))  # in what order?
        or getattr(texts, "ndim", 1) != 1
    ):
        kind = type(texts).__name__
        raise ValueError(f"{expected}Received: {kind}, which is no list.")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(
                f"{expected}Received: {argument}[{index}] is a "
                f"{type(text).__name__}, {text!r:.60}"
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"`{argument}` must be Unicode. Received: {argument}[{index}] "
                f"with {text[error.start]!r}, half a character ({error.reason})"
            ) from error


def task_names(texts: Sequence[str], tasks: str | Sequence[str]) -> list[str]:
    """The task of every text.

    Args:
        texts: B of them.
        tasks: a name for each text, or one for all.

    Raises:
        ValueError: `texts` or `tasks` are no strings, or there is not a name
            for each.
    """
    check_texts(texts)
    if isinstance(tasks, str):
        return [tasks] * len(texts)
    check_texts(tasks, "tasks")
    names = list(tasks)
    if len(names) != len(texts):
        raise ValueError(
            "`tasks` must name one task a text, or one for all. Received: "
            f"{len(texts)} texts and {len(names)} tasks"
        )
    return names


def check_targets(texts: Sequence[str], targets: Sequence[str]) -> None:
    """Refuses targets that are not one for each text.

    Raises:
        ValueError: they are no strings, or not as many.
    """
    check_texts(targets, "targets")
    if len(texts) != len(targets):
        raise ValueError(
            "`targets` must have one target a text. Received: "
            f"{len(texts)} texts and {len(targets)} targets"
        )


def check_labels(labels: Sequence[str], argument: str = "labels") -> None:
    """Refuses labels that cannot be ranked.

    Args:
        labels: what was given.
        argument: as what.

    Raises:
        ValueError: they are no strings, one instead of several, or none.
    """
    check_texts(labels, argument)
    if not len(labels):
        raise ValueError(f"`{argument}` must hold at least one label.")


def pad_rows(rows: Sequence[Sequence[int]]) -> TokenIds:
    """int32 (rows, longest row), zeros after each row's end."""
    width = max((len(row) for row in rows), default=0)
    padded = np.zeros((len(rows), width), np.int32)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return padded
