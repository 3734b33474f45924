"""What a long run shows and records: lines on a terminal, `history.csv`."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import rich.console
import rich.status

from keras_prompt.tasks.text_corpus import Progress
from keras_prompt.training.history_file import read_rows, write_rows


@contextlib.contextmanager
def reading(what: str) -> Iterator[Progress]:
    """A live line while documents are read; gone afterwards.

    Args:
        what: is being done, e.g. "tokenizing".

    Yields:
        A function that is told a source's name and the documents so far.
    """
    console = rich.console.Console(stderr=True)
    with console.status(what) as status:
        yield lambda source, documents: status.update(
            f"{what} {source} · {documents:,} documents"
        )


class PretrainingLog(keras.callbacks.Callback):
    """One live line: step, loss, tokens a second, time left.

    Each validation is printed and becomes a row of `history.csv`. Rows past
    the step at which a run resumes are dropped: they will be written again.

    Args:
        path: the csv file.
        tokens_per_step: input and target positions of one batch.
        steps_per_epoch: steps between two validations.
        steps_done: where the run resumes.
    """

    def __init__(
        self,
        path: Path,
        tokens_per_step: int,
        steps_per_epoch: int,
        steps_done: int,
    ) -> None:
        super().__init__()
        self._path = path
        self._tokens_per_step = tokens_per_step
        self._steps_per_epoch = steps_per_epoch
        self._step = self._first_step = steps_done
        self._rows = [
            row for row in read_rows(path) if int(row["step"]) <= steps_done
        ]
        self._seconds_before = (
            float(self._rows[-1]["seconds"]) if self._rows else 0.0
        )
        self._console = rich.console.Console(stderr=True)
        self._status: rich.status.Status | None = None
        self._started = time.monotonic()

    def last_row(self) -> dict[str, float]:
        """`seconds`, `loss` and `val_loss` at the last validation.

        Raises:
            ValueError: a run that has done all its steps has lost them.
        """
        if not self._rows:
            raise ValueError(
                f"{self._path} has lost its rows. Remove the folder to start "
                "again, or raise `steps`."
            )
        names = ("seconds", "loss", "val_loss")
        return {name: float(self._rows[-1][name]) for name in names}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._started = time.monotonic()
        self._status = self._console.status("first step")
        self._status.start()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._step += 1
        if self._step % 10 == 0 and self._status is not None:
            self._status.update(self._line(float((logs or {})["loss"])))

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        logs = logs or {}
        line = self._line(float(logs["loss"]))
        self._console.print(f"{line} · held out {logs['val_loss']:.4f}")
        seconds = self._seconds_before + time.monotonic() - self._started
        row = {
            "step": self._step,
            "tokens": self._step * self._tokens_per_step,
            "seconds": round(seconds, 1),
            "loss": logs["loss"],
            "val_loss": logs["val_loss"],
        }
        self._rows.append({name: str(value) for name, value in row.items()})
        write_rows(self._path, row, self._rows)

    def close(self) -> None:
        """Leaves the terminal as it was; safe to call twice."""
        if self._status is not None:
            self._status.stop()

    def _line(self, loss: float) -> str:
        total = self.params["epochs"] * self._steps_per_epoch
        seconds = time.monotonic() - self._started
        rate = (self._step - self._first_step) / max(seconds, 1e-9)
        left = (total - self._step) / max(rate, 1e-9)
        return (
            f"step {self._step:,}/{total:,} · loss {loss:.4f} · "
            f"{rate * self._tokens_per_step:,.0f} tokens/s · "
            f"{left / 60:.0f} min left"
        )
