"""Runs the grid of the paper's figures, and reports what has finished.

    python benchmarks/paper/paper.py --data ../shared/data --output runs/paper

Every cell is one run with a folder of its own; one that is finished is not
run again, one that was stopped goes on, one that was run with other settings
or another model is refused. So the same command, given as often
as need be, ends with all of it; the report is written after every cell.
"""

import argparse
import sys
from pathlib import Path

from keras_prompt.cli import quiet

_HERE = Path(__file__).parent


def main(arguments: list[str] | None = None) -> None:
    """Runs what is left.

    Raises:
        FileNotFoundError: the grid, data or a model is absent.
        ValueError: the grid or a setting in it is wrong, or a cell was run
            with other settings or another model than it would be now.
        KeyboardInterrupt: the same command goes on from here.
    """
    options = _options(arguments)
    from paper_grid import read_grid

    from keras_prompt.registry import lookup

    grid = read_grid(options.grid)
    figures = options.figures or list(grid.figures)
    names = options.task or list(grid.tasks)
    for name in figures:
        lookup("figure", name, grid.figures)
    for name in names:
        lookup("task of the grid", name, grid.tasks)
    quiet.import_tensorflow()
    from paper_models import prepare_models
    from paper_place import Place, result_of
    from paper_report import write_report
    from paper_runs import prepare_tasks, run
    from paper_settings import refuse_stale

    place = Place(options.output, options.data, options.models)
    cells = grid.all_cells(figures, names)
    refuse_stale(grid, cells, place)
    left = [cell for cell in cells if result_of(cell, place) is None]
    print(f"{len(cells):,} cells, {len(left):,} of them to run")
    if options.report:
        left = []
    if left:
        prepare_models(grid, left, place)  # before any work
        prepare_tasks(grid, list({cell.task: None for cell in left}), place)
    for number, cell in enumerate(left, 1):
        run(grid, cell, place)
        result = result_of(cell, place)
        assert result is not None
        print(
            f"{number:,}/{len(left):,} · {cell.folder} · "
            f"score {result['score']:.1f}",
            flush=True,
        )
        write_report(grid, figures, names, place)
    for path in write_report(grid, figures, names, place):
        print(path)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add("figures", nargs="*", help="names in the grid (all)")
    add("--task", action="append", help="a name in the grid (all); repeatable")
    add("--grid", type=Path, default=_HERE / "grid.toml", help="grid.toml")
    add("--data", type=Path, default=Path(), help="the tasks' official files")
    add("--models", type=Path, default=Path("runs/models"), help="runs/models")
    add("--output", type=Path, default=Path("runs/paper"), help="runs/paper")
    add("--report", action="store_true", help="report only, run nothing")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    # Factories of the grid are looked for here.
    sys.path.append(str(_HERE.parents[1] / "demo"))
    try:
        main()
    except KeyboardInterrupt:
        print("paper: stopped; the same command goes on", file=sys.stderr)
        sys.exit(130)  # the shell's convention: 128 + SIGINT
    except (ValueError, OSError) as error:
        sys.exit(f"paper: error: {error}")
