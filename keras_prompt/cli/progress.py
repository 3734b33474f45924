"""A progress bar on standard error: done, rate, time left."""

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar(
    what: str, total: int, *, is_shown: bool = True
) -> Iterator[Callable[[int], None]]:
    """Shows a bar for as long as the block runs; gone afterwards.

    Args:
        what: is counted, e.g. "rows".
        total: how many there are.
        is_shown: false shows nothing; nor does a file see a bar.

    Yields:
        A function that is told how many more are done.
    """
    import rich.console
    import rich.progress

    console = rich.console.Console(stderr=True)
    columns = (
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn(f"{what} · {{task.fields[rate]}}"),
        rich.progress.TimeRemainingColumn(),
    )
    progress = rich.progress.Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not (is_shown and console.is_terminal),
    )
    with progress:
        bar = progress.add_task(what, total=total, rate="")

        def advance(count: int) -> None:
            speed = progress.tasks[0].speed
            rate = f"{speed:,.1f} a second" if speed else ""
            progress.update(bar, advance=count, rate=rate)

        yield advance
