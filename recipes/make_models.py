"""Makes the small models of small_models.toml, from text to folders.

    python recipes/make_models.py nano corpus/*.txt.xz --output runs/models

leaves runs/models/nano/0 (span corruption alone) and /10, /50, /100 (so many
percent of the LM adaptation), each a folder that `from_preset` takes. The
same command goes on where it was stopped.
"""

import argparse
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

from keras_prompt.cli.quiet import import_tensorflow

_RECIPE = Path(__file__).with_name("small_models.toml")
_STEPS = ("pretrain_steps", "adapt_steps")


def main(arguments: list[str] | None = None) -> None:
    """Makes one size.

    Raises:
        FileNotFoundError: a text is absent.
        ValueError: there is no such size, or a folder holds another run.
        KeyboardInterrupt: the same command goes on from the last validation.
    """
    options = _options(arguments)
    from keras_prompt.registry import lookup

    recipe = tomllib.loads(options.recipe.read_text())
    size = lookup("size", options.size, recipe["sizes"])
    import_tensorflow()
    make(recipe, size, options.texts, options.output, options.size)


def make(
    recipe: dict[str, Any],
    size: dict[str, Any],
    texts: list[str],
    output: Path,
    name: str,
) -> None:
    """Trains the vocabulary if need be, pre-trains, and adapts.

    Args:
        recipe: what small_models.toml says.
        size: one of its sizes.
        texts: sources, as `keras-prompt pretrain` takes them.
        output: gets spiece.model, which all sizes share, and the models.
        name: of the size.
    """
    from keras_prompt.atomic_files import write_file
    from keras_prompt.tasks.documents import document_source
    from keras_prompt.tasks.vocabulary import train_vocabulary
    from keras_prompt.training.pretraining.config import PretrainConfig
    from keras_prompt.training.pretraining.run import pretrain

    vocabulary = output / "spiece.model"
    if not vocabulary.is_file():
        sources = [document_source(text) for text in texts]
        pieces = train_vocabulary(sources, recipe["vocabulary"])
        write_file(vocabulary, pieces)
    folder = output / name
    pretrain(
        PretrainConfig(
            texts=tuple(texts),
            output=str(folder / "pretrain"),
            vocabulary=str(vocabulary),
            steps=size["pretrain_steps"],
            **{k: v for k, v in size.items() if k not in _STEPS},
            **recipe["pretrain"],
        )
    )
    _keep(folder / "pretrain" / "model", folder / "0")
    adapt = dict(recipe["adapt"])
    percents, end = adapt.pop("percent"), adapt.pop("decay_steps")
    for percent in percents:
        if (folder / str(percent)).is_dir():
            continue
        pretrain(
            PretrainConfig(
                texts=tuple(texts),
                output=str(folder / "adapt"),
                objective="prefix_lm",
                base=str(folder / "0"),
                steps=size["adapt_steps"] * percent // 100,
                decay_steps=end if percent == percents[-1] else 0,
                **adapt,
            )
        )
        _keep(folder / "adapt" / "model", folder / str(percent))


def _keep(model: Path, folder: Path) -> None:
    """Copies a finished model to where later steps do not change it."""
    from keras_prompt.atomic_files import new_folder

    with new_folder(folder) as partial:
        shutil.copytree(model, partial, dirs_exist_ok=True)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add("size", help="a name in the recipe: pico, nano, micro")
    add("texts", nargs="+", help="sources, as `keras-prompt pretrain` takes")
    add("--output", type=Path, default=Path("runs/models"), help="runs/models")
    add("--recipe", type=Path, default=_RECIPE, help="small_models.toml")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("recipe: stopped; the same command goes on", file=sys.stderr)
        sys.exit(130)  # the shell's convention: 128 + SIGINT
    except (ValueError, OSError) as error:
        sys.exit(f"recipe: error: {error}")
