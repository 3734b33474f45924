"""The models of the grid's cells: trained ones, and ones of random weights."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from paper_grid import RANDOM, Cell, Grid
from paper_place import Place

from keras_prompt.models.t5.config import T5Config
from keras_prompt.types import FloatArray


def prepare_models(grid: Grid, cells: Sequence[Cell], place: Place) -> None:
    """Looks for every cell's model, and makes the random ones.

    Raises:
        FileNotFoundError: one is absent.
        ValueError: one is neither a folder nor a preset; or a random one was
            made with the sizes or the vocabulary of another trained one.
    """
    from keras_prompt.models.checkpoints import formats, hugging_face

    trained = {
        (cell.size, cell.adaptation): _trained_folder(grid, cell, place)
        for cell in cells
    }
    for (size, adaptation), folder in trained.items():
        if adaptation != RANDOM:
            continue
        random, like = _random_model(size, place), formats.read(folder)
        if random.is_dir():
            made = formats.read(random)
            if (made.config, made.vocabulary) != (like.config, like.vocabulary):
                raise ValueError(
                    f"{random} has other sizes or another vocabulary than "
                    f"{folder} has now. Remove {random}."
                )
            continue
        weights = dict(_random_weights(like.config))
        hugging_face.write(
            random, like.config, weights.__getitem__, like.vocabulary
        )


def fingerprint_of(grid: Grid, cell: Cell, place: Place) -> str | None:
    """The fingerprint of the model that a cell would be run with now.

    Returns:
        None if the model is not there, or of a random one the trained one
        that gives its sizes; `prepare_models` says so where it is needed.

    Raises:
        FileNotFoundError: a file of it is absent.
        ValueError: it is damaged.
    """
    from keras_prompt.models.checkpoints import formats
    from keras_prompt.models.t5.fingerprint import Fingerprint
    from keras_prompt.models.t5.variables import weight_table

    try:
        folder = _trained_folder(grid, cell, place)
    except (FileNotFoundError, ValueError):
        return None
    checkpoint = formats.read(folder)
    if cell.adaptation == RANDOM:
        weights = _random_weights(checkpoint.config)
    else:
        names = weight_table(checkpoint.config)
        weights = ((name, checkpoint.weights(name)) for name in names)
    found = Fingerprint()
    for name, value in weights:
        found.add(name, value)
    return found.text()


def model_of(grid: Grid, cell: Cell, place: Place) -> str:
    """The folder of a cell's model, or the preset's name."""
    if cell.adaptation == RANDOM:
        return str(_random_model(cell.size, place))
    return _trained_model(grid, cell.size, str(cell.adaptation), place)


def _random_model(size: str, place: Place) -> Path:
    return place.output / "models" / f"{size}-{RANDOM}"


def _trained_model(grid: Grid, size: str, adaptation: str, place: Place) -> str:
    word = grid.models[size][adaptation]
    folder = place.models / word
    return str(folder) if folder.is_dir() else word


def _trained_folder(grid: Grid, cell: Cell, place: Place) -> Path:
    """Of a cell's model, or of the one that a random one has its sizes of."""
    from keras_prompt.models.t5.presets import find_checkpoint

    word = str(cell.adaptation)
    if cell.adaptation == RANDOM:
        word = next(iter(grid.models[cell.size]))
    model = _trained_model(grid, cell.size, word, place)
    if "/" in model and not Path(model).is_dir():
        raise FileNotFoundError(
            f"There is no model at {place.models / model}. "
            "recipes/make_models.py makes those of the grid; say where they "
            "are: --models."
        )
    return find_checkpoint(model)


def _random_weights(config: T5Config) -> Iterator[tuple[str, FloatArray]]:
    """Weights that were never trained, always the same."""
    from keras_prompt.models.t5.variables import initial_weight, weight_table

    rng = np.random.default_rng(0)
    for name, dimensions in weight_table(config).items():
        yield name, initial_weight(name, dimensions, rng)
