"""The grid of runs as data: a TOML file to figures and their cells."""

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_prompt.registry import lookup

METHODS = ("prompt", "model", "zero-shot")
RANDOM = "random"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        task: its name, without a sentinel.
        size: of the model, a name in the grid's `models`.
        adaptation: LM adaptation, percent of its whole length; or "random",
            weights that were never trained.
        method: "prompt", "model" or "zero-shot".
        prompt_length: 0 without a prompt.
        initial_prompt: as `keras-prompt tune` takes it; empty without one.
        sentinel: whether targets begin with `<extra_id_0>`.
        seed: of the run; 0 for zero-shot, which has no chance in it.
    """

    task: str
    size: str
    adaptation: int | str
    method: str
    prompt_length: int
    initial_prompt: str
    sentinel: bool
    seed: int

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(
                f"`method` must be one of {METHODS}. Received: {self.method!r}"
            )
        if self.method != "prompt":
            object.__setattr__(self, "prompt_length", 0)
            object.__setattr__(self, "initial_prompt", "")
        if self.method == "zero-shot":
            object.__setattr__(self, "seed", 0)

    @property
    def folder(self) -> Path:
        """Where its run lies: what figures set has a place in the name.

        What it is run with besides, `tune`, `methods`, a task's own and the
        model's weights, has none: `refuse_stale` compares that. Nothing
        compares a task's data.

        >>> Cell("glue/sst2", "nano", 100, "prompt", 20, "x", True, 1).folder
        PosixPath('glue_sst2+sentinel/nano-100/prompt-20-x/1')
        """
        task = self.task.replace("/", "_") + "+sentinel" * self.sentinel
        how = self.method
        if self.method == "prompt":
            how += f"-{self.prompt_length}-{self.initial_prompt}"
        model = f"{self.size}-{self.adaptation}"
        return Path(task, model, how, str(self.seed))


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure: lines over the values of one setting.

    Attributes:
        title: for people.
        x: the setting along the horizontal axis.
        values: of that setting.
        lines: what each line sets.
        tasks: that it is drawn for; none is all of the grid's.
    """

    title: str
    x: str
    values: Sequence[Any]
    lines: Mapping[str, Mapping[str, Any]]
    tasks: Sequence[str] | None = None


@dataclasses.dataclass(frozen=True)
class Grid:
    """What grid.toml says.

    Attributes:
        seeds: of every cell.
        settings: of a cell, for what a figure does not set.
        tune: settings of `TuneConfig` for all cells.
        methods: further ones by method.
        models: folder or preset by size and adaptation.
        tasks: by name, each with what makes its data and its `tune`.
        figures: by name.
    """

    seeds: Sequence[int]
    settings: Mapping[str, Any]
    tune: Mapping[str, Any]
    methods: Mapping[str, Mapping[str, Any]]
    models: Mapping[str, Mapping[str, str]]
    tasks: Mapping[str, Mapping[str, Any]]
    figures: Mapping[str, Figure]

    def tasks_of(self, figure: str, tasks: Sequence[str]) -> list[str]:
        """Those of some tasks that a figure is drawn for."""
        own = self.figures[figure].tasks
        return [name for name in tasks if own is None or name in own]

    def cells(
        self, figure: str, task: str, line: str, value: Any
    ) -> list[Cell]:
        """The runs behind one point: one for each seed."""
        drawn = self.figures[figure]
        settings = {
            **self.settings,
            **drawn.lines[line],
            drawn.x: value,
            "task": task,
        }
        # In order, without what does not differ.
        return list(
            dict.fromkeys(Cell(**settings, seed=seed) for seed in self.seeds)
        )

    def all_cells(
        self, figures: Sequence[str], tasks: Sequence[str]
    ) -> list[Cell]:
        """Every run of some figures and tasks, once; first seeds first."""
        found = dict.fromkeys(
            cell
            for name in figures
            for task in self.tasks_of(name, tasks)
            for line in self.figures[name].lines
            for value in self.figures[name].values
            for cell in self.cells(name, task, line, value)
        )
        return sorted(found, key=lambda cell: cell.seed)


def read_grid(path: Path) -> Grid:
    """Reads a grid and refuses what no cell could be made of.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no TOML, or a setting or model is not there.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No grid at {path}.")
    try:
        raw = tomllib.loads(path.read_text())
        figures = {
            name: _figure(figure) for name, figure in raw.pop("figures").items()
        }
        grid = Grid(**({"methods": {}} | raw), figures=figures)
        cells = grid.all_cells(list(figures), list(grid.tasks))
        for method in grid.methods:
            lookup("method", method, dict.fromkeys(METHODS))
        for cell in cells:
            models = grid.models[cell.size]
            if cell.adaptation != RANDOM:
                models[str(cell.adaptation)]
        for name, figure in figures.items():
            for task in figure.tasks or ():
                grid.tasks[task]
            if not grid.tasks_of(name, list(grid.tasks)):
                raise ValueError(f"figure '{name}' has no task.")
    except (tomllib.TOMLDecodeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no grid: {error}") from error
    except KeyError as error:
        raise ValueError(f"{path} is no grid: it has no {error}.") from error
    return grid


def _figure(raw: dict[str, Any]) -> Figure:
    ((x, values),) = raw["x"].items()
    return Figure(raw["title"], x, values, raw["lines"], raw.get("tasks"))
