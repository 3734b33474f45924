"""A recipe as data: a TOML file to the runs that make a size."""

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_prompt.arguments import check_integers
from keras_prompt.registry import lookup
from keras_prompt.training.pretraining.config import PretrainConfig

VOCABULARY = "spiece.model"  # of all sizes, beside the models
_SECTIONS = ("vocabulary", "pretrain", "adapt", "sizes")
# What the recipe's own keys, and the command, say.
_GIVEN = {
    *("texts", "output", "objective", "base", "steps"),
    *("vocabulary", "train_vocabulary"),
}
_SETTINGS = {
    field.name: field
    for field in dataclasses.fields(PretrainConfig)
    if field.name not in _GIVEN
}


def read_recipe(path: Path) -> dict[str, Any]:
    """Reads a recipe and refuses what no model could be made of.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no TOML, or a section or setting is missing,
            misspelt or out of its range.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No recipe at {path}.")
    try:
        recipe = tomllib.loads(path.read_text())
        for section in recipe:
            lookup("section", section, dict.fromkeys(_SECTIONS))
        check_integers(vocabulary=(recipe["vocabulary"], 1))
        for name, size in dict(recipe["sizes"]).items():
            runs(recipe, size, ("text",), Path(), name)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is no recipe: {error}") from error
    except KeyError as error:
        raise ValueError(f"{path} is no recipe: it has no {error}.") from error
    return recipe


def runs(
    recipe: Mapping[str, Any],
    size: Mapping[str, Any],
    texts: Sequence[str],
    output: Path,
    name: str,
) -> dict[Path, PretrainConfig]:
    """The folder of each model that is kept, and the run that makes it.

    Args:
        recipe: what `read_recipe` gave.
        size: one of its sizes.
        texts: sources, as `keras-prompt pretrain` takes them.
        output: has the vocabulary, and gets the models.
        name: of the size.

    Raises:
        KeyError: the recipe has no such section or setting.
        TypeError: a setting is not of its kind, or given twice.
        ValueError: there is no such setting, or it is out of its range.
    """
    shape, pretrain, adapt = map(
        dict, (size, recipe["pretrain"], recipe["adapt"])
    )
    pretrain_steps = shape.pop("pretrain_steps")
    adapt_steps = shape.pop("adapt_steps")
    end = shape.pop("adapt_decay_steps")
    percents = adapt.pop("percent")
    sections = {f"sizes.{name}": shape, "pretrain": pretrain, "adapt": adapt}
    for section, settings in sections.items():
        for setting in settings:
            lookup(f"setting in [{section}]", setting, _SETTINGS)
    folder = output / name
    found = {
        folder / "0": PretrainConfig(
            texts=tuple(texts),
            output=str(folder / "pretrain"),
            vocabulary=str(output / VOCABULARY),
            steps=pretrain_steps,
            **shape,
            **pretrain,
        )
    }
    for percent in percents:
        found[folder / str(percent)] = PretrainConfig(
            texts=tuple(texts),
            output=str(folder / "adapt"),
            objective="prefix_lm",
            base=str(folder / "0"),
            steps=adapt_steps * percent // 100,
            decay_steps=end if percent == percents[-1] else 0,
            **adapt,
        )
    return found
