"""What finished cells came to: a CSV row each, tables, figures."""

import csv
import dataclasses
import io
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paper_grid import Cell, Grid
from paper_place import Place, result_of

from keras_prompt.atomic_files import write_file

_ALL = "mean of the tasks"


@dataclasses.dataclass(frozen=True)
class Point:
    """A point of a line.

    Attributes:
        scores: one a seed that has finished, 0 to 100.
        majority: the score of always giving the most frequent target; none
            where targets are free text.
    """

    scores: tuple[float, ...]
    majority: float | None

    @property
    def mean(self) -> float:
        """Of the scores."""
        return statistics.fmean(self.scores)

    @property
    def spread(self) -> float:
        """The sample standard deviation; 0 of one score."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else 0.0

    def __str__(self) -> str:
        """Mean, spread and number of seeds, for a table."""
        if len(self.scores) == 1:
            return f"{self.mean:.1f}"
        return f"{self.mean:.1f} ± {self.spread:.1f} ({len(self.scores)})"


def write_report(
    grid: Grid, figures: Sequence[str], names: Sequence[str], place: Place
) -> list[Path]:
    """Writes results.csv, tables.md and, with matplotlib, a PNG a figure.

    Cells that have not finished are left out.

    Returns:
        The files written.
    """
    written = [place.output / "results.csv", place.output / "tables.md"]
    write_file(written[0], _csv(grid.all_cells(figures, names), place))
    tables = [_tables(grid, figure, names, place) for figure in figures]
    write_file(written[1], "\n".join(tables))
    try:
        import matplotlib as mpl
    except ImportError:
        print("No figures are drawn: matplotlib is not installed.")
        return written
    mpl.use("Agg")
    for figure in figures:
        path = place.output / f"{figure}.png"
        if _draw(grid, figure, names, place, path):
            written.append(path)
    return written


def _csv(cells: Sequence[Cell], place: Place) -> str:
    table = io.StringIO(newline="")
    columns = [field.name for field in dataclasses.fields(Cell)]
    more = ["score", "majority", "best_step", "illegal_share"]
    writer = csv.DictWriter(table, [*columns, *more], extrasaction="ignore")
    writer.writeheader()
    for cell in cells:
        result = result_of(cell, place)
        if result is not None:
            row = {**result, "majority": _majority(result)}
            writer.writerow({**row, **dataclasses.asdict(cell)})
    return table.getvalue()


def _tables(grid: Grid, figure: str, names: Sequence[str], place: Place) -> str:
    """A figure as a table for each task, lines as columns."""
    drawn, names = grid.figures[figure], grid.tasks_of(figure, names)
    lines = list(drawn.lines)
    parts = [f"### {drawn.title}\n"]
    for name in (*names, _ALL):
        points = {
            (line, value): _point(grid, figure, name, names, line, value, place)
            for line in lines
            for value in drawn.values
        }
        there = [point for point in points.values() if point]
        if not there:
            continue
        parts.append(f"{name}{_majorities(there)}:\n")
        parts.append(f"| {drawn.x} | {' | '.join(lines)} |")
        parts.append("|---" * (1 + len(lines)) + "|")
        for value in drawn.values:
            row = [str(points[line, value] or "") for line in lines]
            parts.append(f"| {value} | {' | '.join(row)} |")
        parts.append("")
    return "\n".join(parts)


def _draw(
    grid: Grid, figure: str, names: Sequence[str], place: Place, path: Path
) -> bool:
    """A panel for each task with points; whether there was one to draw."""
    from matplotlib import pyplot as plt

    drawn, names = grid.figures[figure], grid.tasks_of(figure, names)
    panels: dict[str, dict[str, list[tuple[int, Point]]]] = {}
    for name in (*names, _ALL):
        lines = {
            line: [
                (place_of_value, point)
                for place_of_value, value in enumerate(drawn.values)
                if (
                    point := _point(
                        grid, figure, name, names, line, value, place
                    )
                )
            ]
            for line in drawn.lines
        }
        if any(lines.values()):
            panels[name] = lines
    if not panels:
        return False
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    canvas, axes = plt.subplots(
        rows, columns, figsize=(4 * columns, 3.2 * rows), squeeze=False
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (name, lines) in zip(axes.flat, panels.items(), strict=False):
        for line, points in lines.items():
            axis.errorbar(
                [x for x, _ in points],
                [point.mean for _, point in points],
                [point.spread for _, point in points],
                marker="o",
                capsize=3,
                label=line,
            )
        majority = {p.majority for points in lines.values() for _, p in points}
        for score in majority - {None}:
            axis.axhline(score, color="gray", linestyle=":")
        axis.set_title(name, fontsize=10)
        axis.set_xticks(range(len(drawn.values)), map(str, drawn.values))
        axis.set_xlabel(drawn.x.replace("_", " "))
    axes.flat[0].set_ylabel("score on dev (dotted: majority)")
    axes.flat[0].legend(fontsize=8)
    canvas.suptitle(drawn.title)
    canvas.tight_layout()
    image = io.BytesIO()
    canvas.savefig(image, dpi=120)
    plt.close(canvas)
    write_file(path, image.getvalue())
    return True


def _point(
    grid: Grid,
    figure: str,
    name: str,
    names: Sequence[str],
    line: str,
    value: Any,
    place: Place,
) -> Point | None:
    """The point of a task, or of all tasks, if it is finished."""
    if name != _ALL:
        cells = grid.cells(figure, name, line, value)
        found = [result_of(cell, place) for cell in cells]
        results = [result for result in found if result is not None]
        if not results:
            return None
        scores = tuple(float(result["score"]) for result in results)
        return Point(scores, _majority(results[0]))
    points = [
        _point(grid, figure, task, names, line, value, place) for task in names
    ]
    finished = [point for point in points if point is not None]
    counts = {len(point.scores) for point in finished}
    if len(names) < 2 or len(finished) < len(names) or len(counts) > 1:
        return None
    by_seed = zip(*(point.scores for point in finished), strict=True)
    return Point(
        tuple(statistics.fmean(scores) for scores in by_seed),
        _mean([point.majority for point in finished]),
    )


def _majorities(points: Sequence[Point]) -> str:
    """For a table's heading."""
    scores = {f"{p.majority:.1f}" for p in points if p.majority is not None}
    return f", majority class {'/'.join(sorted(scores))}" if scores else ""


def _majority(result: dict[str, Any]) -> float | None:
    """The task's score of the majority class: the mean of its metrics."""
    values = result["majority"].values()
    return statistics.fmean(values) if values else None


def _mean(scores: Sequence[float | None]) -> float | None:
    """Of all tasks, if each has one."""
    known = [score for score in scores if score is not None]
    return statistics.fmean(known) if len(known) == len(scores) else None
