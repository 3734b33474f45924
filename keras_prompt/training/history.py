"""The record of a tuning run, and its live progress bar."""

import sys
from pathlib import Path
from typing import Any

import keras
import rich.console
import rich.markup  # tfds patches imports while the bar's thread runs
import rich.progress
import rich.text

from keras_prompt.training.history_file import read_rows, write_rows


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

    def evaluation(
        self, step: int, task: str | None = None
    ) -> dict[str, float]:
        """What an evaluator found after a step, as `Evaluation.facts`.

        Args:
            step: of the optimizer.
            task: for the row of a `BankEvaluator`, which leaves out `score`.

        Raises:
            ValueError: the file has no row of that step, or is no history.
        """
        prefix = "val_" if task is None else f"val_{task}:"
        for row in read_rows(self.path):
            if int(row["step"]) == step:
                return {
                    name.removeprefix(prefix): float(value)
                    for name, value in row.items()
                    if name.startswith(prefix)
                }
        raise ValueError(
            f"{self.path} has lost the row of step {step}, the best prompt's. "
            "`keras-prompt export` still exports that prompt."
        )

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        step = int(self.model.optimizer.iterations.numpy())
        row = {"step": step, **{k: float(v) for k, v in (logs or {}).items()}}
        rows = read_rows(self.path)
        kept = [old for old in rows if int(old["step"]) < step]
        write_rows(self.path, row, [*kept, row])


class _Rate(rich.progress.ProgressColumn):
    """Steps a second."""

    def render(self, task: rich.progress.Task) -> rich.text.Text:
        speed = task.speed or 0.0
        return rich.text.Text(f"{speed:.1f} steps/s")


class ProgressBar(keras.callbacks.Callback):
    """Steps, rate and time left, on standard error.

    Args:
        steps: of the whole run.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps
        console = rich.console.Console(stderr=True)
        self._progress = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            _Rate(),
            rich.progress.TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,  # a file gets no bar
            # Lines on the same terminal go above the bar; a file gets them
            # as they are.
            redirect_stdout=sys.stdout.isatty(),
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
