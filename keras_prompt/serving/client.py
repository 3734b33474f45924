"""Texts in, answers out, from a base that `export_server` wrote.

With a tokenizer, requests are of token ids, which every base takes; without
one they are of text, for bases that were exported with their own.

Letters: B texts, L labels.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_prompt.models.text_batches import (
    check_labels,
    check_texts,
    pad_rows,
    task_names,
    text_batches,
)
from keras_prompt.serving.errors import (
    RequestRefusedError,
    RowsRefusedError,
    ServerUnavailableError,
)
from keras_prompt.serving.transports import connect
from keras_prompt.tokenizer import Tokenizer
from keras_prompt.types import FloatArray

_FIRST_WAIT = 0.05  # seconds before the second attempt; doubled each time
_LONGEST = 1e6  # seconds; neither sockets nor gRPC can count for ever


class Client:
    """Asks one served base, for rows of any of its tasks.

    A request is tried again, after waits that double, as long as no server
    answers and time is left: a request changes nothing on the server. What
    the server did refuse is not tried again.

    Args:
        address: "host:port" for gRPC, which needs the package
            `tensorflow-serving-api`, or "http://host:port" for REST.
        tokenizer: of the served base; none where that has one itself, by
            `export_server(…, tokenizer=…)`.
        model: the base's name in the server's configuration.
        timeout: seconds for a call, all its attempts and waits included.
        input_length: longer inputs are cut, EOS kept; no more than the
            server takes. Without a tokenizer nothing is cut: the server
            refuses rows that are too long.

    Raises:
        ValueError: the address is none, or asks for gRPC and its stubs are
            not installed; or `timeout` is not positive.
    """

    def __init__(
        self,
        address: str,
        tokenizer: Tokenizer | None = None,
        *,
        model: str = "base",
        timeout: float = 30.0,
        input_length: int = 512,
    ) -> None:
        if not timeout > 0:
            raise ValueError(
                "`timeout` must be positive seconds. "
                f"Received: timeout={timeout!r}"
            )
        self._transport = connect(address)
        self._tokenizer = tokenizer
        self._model = model
        self._timeout = timeout
        self._input_length = input_length

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()

    def generate(
        self, texts: Sequence[str], tasks: str | Sequence[str]
    ) -> list[str]:
        """Writes an output for every text, greedily, in one request.

        Args:
            texts: the inputs.
            tasks: the prompts' names on the server, one for each text or one
                for all.

        Raises:
            RowsRefusedError: a row cannot be answered; says why, by row.
            RequestRefusedError: the server refuses the whole request, as it
                does text where it was exported without a tokenizer.
            ServerUnavailableError: nobody answered in time.
            ServerTimeoutError: the answer did not come in time.
            ValueError: not one task for each text.
        """
        check_texts(texts)
        if len(texts) == 0:
            return []
        inputs = self._inputs(texts, tasks)
        if self._tokenizer is None:
            found = self._ask("generate_text", inputs)
            return [_text(value) for value in found["output_text"].tolist()]
        found = self._ask("generate", inputs)
        return [self._tokenizer.decode(row) for row in found["output_ids"]]

    def rank(
        self,
        texts: Sequence[str],
        tasks: str | Sequence[str],
        labels: Sequence[str],
    ) -> FloatArray:
        """The log-likelihood of every label for every text, in one request.

        Returns:
            float32 (B, L), summed over tokens.

        Raises:
            ValueError: as `generate`, like the others; or no labels, or one
                string instead of several.
        """
        check_labels(labels)
        check_texts(texts)
        if len(texts) == 0:
            return np.zeros((0, len(labels)), np.float32)
        inputs = self._inputs(texts, tasks)
        count = len(texts)
        if self._tokenizer is None:
            signature = "score_text"
            words = np.array([label.encode() for label in labels], object)
            inputs["target_text"] = np.repeat(words[None], count, axis=0)
        else:
            signature = "score"
            eos = [self._tokenizer.eos_id]
            rows = [self._tokenizer.encode(word) + eos for word in labels]
            lengths = np.array([len(row) for row in rows], np.int32)
            ids = np.repeat(pad_rows(rows)[None], count, axis=0)
            inputs["target_ids"] = ids
            inputs["target_lengths"] = np.repeat(lengths[None], count, axis=0)
        found = self._ask(signature, inputs)
        # Batched with a request of more labels, the answer has as many.
        return np.asarray(found["scores"], np.float32)[:, : len(labels)]

    def _inputs(
        self, texts: Sequence[str], tasks: str | Sequence[str]
    ) -> dict[str, npt.NDArray[Any]]:
        names = task_names(texts, tasks)
        task = np.array([name.encode() for name in names], dtype=object)
        if self._tokenizer is None:
            text = np.array([text.encode() for text in texts], dtype=object)
            return {"task": task, "text": text}
        ((_, features),) = text_batches(
            texts, self._tokenizer, len(texts), self._input_length
        )
        lengths = features["encoder_padding_mask"].sum(axis=1, dtype=np.int32)
        return {
            "task": task,
            "token_ids": features["encoder_token_ids"],
            "token_lengths": lengths,
        }

    def _ask(
        self, signature: str, inputs: Mapping[str, npt.NDArray[Any]]
    ) -> dict[str, npt.NDArray[Any]]:
        """The outputs, every row's status ok."""
        end = time.monotonic() + self._timeout
        wait = _FIRST_WAIT
        while True:
            left = min(max(end - time.monotonic(), 0.001), _LONGEST)
            try:
                found = self._transport.predict(
                    self._model, signature, inputs, left
                )
                break
            except RequestRefusedError as error:
                if self._tokenizer is not None:
                    raise
                raise RequestRefusedError(
                    f"{error} (Asked in text, for want of a tokenizer; a base "
                    "exported without one takes ids alone.)"
                ) from error
            except ServerUnavailableError:
                if time.monotonic() + wait >= end:
                    raise
                time.sleep(wait)
                wait *= 2
        if "status" not in found:
            raise RequestRefusedError(
                f"Model '{self._model}' is no exported base: its answer has "
                f"{', '.join(found) or 'nothing'}, and no status."
            )
        statuses = [_text(word) for word in found["status"].tolist()]
        refused = {i: word for i, word in enumerate(statuses) if word != "ok"}
        if refused:
            raise RowsRefusedError(refused)
        return found


def _text(value: bytes | str) -> str:
    """A string as gRPC gives it, or as REST does."""
    return value.decode() if isinstance(value, bytes) else str(value)
