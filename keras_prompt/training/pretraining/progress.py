"""One live line for a long run: step, loss, tokens a second, time left."""

import csv
import time
from pathlib import Path
from typing import Any

import keras
import rich.console


class PretrainingLog(keras.callbacks.Callback):
    """Prints progress and appends each validation to `history.csv`.

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
        self._console = rich.console.Console(stderr=True)
        self._status: rich.status.Status | None = None
        self._started = time.monotonic()

    def last_row(self) -> dict[str, float]:
        """`loss` and `val_loss` of the last validation."""
        with self._path.open(newline="") as file:
            row = list(csv.DictReader(file))[-1]
        return {name: float(row[name]) for name in ("loss", "val_loss")}

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
        row = {
            "step": self._step,
            "tokens": self._step * self._tokens_per_step,
            "seconds": round(time.monotonic() - self._started, 1),
            "loss": logs["loss"],
            "val_loss": logs["val_loss"],
        }
        is_first = not self._path.is_file()
        with self._path.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if is_first:
                writer.writeheader()
            writer.writerow(row)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
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
