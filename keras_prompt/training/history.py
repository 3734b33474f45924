"""The record of a tuning run, and its live progress bar."""

import csv
from pathlib import Path
from typing import Any

import keras
import rich.console
import rich.markup  # tfds patches imports while the bar's thread runs
import rich.progress
import rich.text


class History(keras.callbacks.Callback):
    """Writes a row of `history.csv` after every evaluation.

    Rows past the step at which a run resumes are dropped: they will be
    written again.

    Args:
        path: the csv file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def rows(self) -> list[dict[str, str]]:
        """The rows written so far."""
        if not self.path.is_file():
            return []
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        step = int(self.model.optimizer.iterations.numpy())
        row = {"step": step, **{k: float(v) for k, v in (logs or {}).items()}}
        kept = [old for old in self.rows() if int(old["step"]) < step]
        partial = self.path.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, row, extrasaction="ignore")
            writer.writeheader()
            writer.writerows([*kept, row])
        partial.replace(self.path)


class _Rate(rich.progress.ProgressColumn):
    """Steps a second."""

    def render(self, task: rich.progress.Task) -> rich.text.Text:
        speed = task.speed or 0.0
        return rich.text.Text(f"{speed:.1f} steps/s")


class ProgressBar(keras.callbacks.Callback):
    """Steps, rate, time left and loss, on standard error.

    Args:
        steps: of the whole run.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps
        self._progress = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            _Rate(),
            rich.progress.TimeRemainingColumn(),
            console=rich.console.Console(stderr=True),
            transient=True,
            redirect_stdout=False,
        )
        self._bar: rich.progress.TaskID | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._bar is None:
            self._bar = self._progress.add_task("tuning", total=self._steps)
        done = int(self.model.optimizer.iterations.numpy())
        self._progress.update(self._bar, completed=done)
        self._progress.start()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self._bar is not None:
            self._progress.advance(self._bar)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the terminal as it was; safe to call twice."""
        self._progress.stop()
