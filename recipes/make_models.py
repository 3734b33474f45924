"""Makes the small models of small_models.toml, from text to folders.

    python recipes/make_models.py nano corpus/*.txt.xz --output runs/models

leaves runs/models/nano/0 (span corruption alone) and /10, /50, /100 (so many
percent of the LM adaptation), each a folder that `from_preset` takes. The
same command goes on where it was stopped.
"""

import argparse
import dataclasses
import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipe_runs import VOCABULARY, read_recipe, runs

from keras_prompt.cli.quiet import import_tensorflow
from keras_prompt.registry import lookup

if TYPE_CHECKING:
    from keras_prompt.tokenizer import Tokenizer
    from keras_prompt.training.pretraining.config import PretrainConfig

_RECIPE = Path(__file__).with_name("small_models.toml")
_SETTINGS = "recipe.json"  # of a kept model, beside it


def main(arguments: list[str] | None = None) -> None:
    """Makes one size.

    Raises:
        FileNotFoundError: the recipe or a text is absent.
        ValueError: the recipe is wrong, there is no such size, or a folder
            holds another run.
        KeyboardInterrupt: the same command goes on from the last validation.
    """
    options = _options(arguments)
    recipe = read_recipe(options.recipe)
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
        output: gets the vocabulary, which all sizes share, and the models.
        name: of the size.

    Raises:
        FileNotFoundError: a text is absent.
        ValueError: the vocabulary or a folder is another recipe's.
    """
    planned = runs(recipe, size, texts, output, name)
    tokenizer = _vocabulary(output, texts, recipe["vocabulary"])
    for folder, config in planned.items():
        _make_kept(folder, config, _settings(config, tokenizer))


def _vocabulary(output: Path, texts: Sequence[str], pieces: int) -> "Tokenizer":
    """Trains the vocabulary of all sizes, or checks the one that is there."""
    from keras_prompt.atomic_files import write_file
    from keras_prompt.tasks.documents import document_source
    from keras_prompt.tasks.vocabulary import train_vocabulary
    from keras_prompt.tokenizer import Tokenizer

    path = output / VOCABULARY
    if not path.is_file():
        sources = [document_source(text) for text in texts]
        write_file(path, train_vocabulary(sources, pieces))
    tokenizer = Tokenizer.from_file(path)
    if tokenizer.piece_count != pieces:
        raise ValueError(
            f"{path} has {tokenizer.piece_count:,} pieces, and the recipe "
            f"{pieces:,}. Remove it, and what was made with it, or choose "
            "another output folder."
        )
    return tokenizer


def _make_kept(folder: Path, config: "PretrainConfig", settings: str) -> None:
    """Trains, and copies the model to where later steps do not change it."""
    from keras_prompt.atomic_files import new_folder
    from keras_prompt.training.pretraining.run import pretrain
    from keras_prompt.training.run_folder import MODEL

    if folder.is_dir():
        _check_kept(folder, settings)
        return
    pretrain(config)
    model = Path(config.output) / MODEL
    with new_folder(folder) as partial:
        shutil.copytree(model, partial, dirs_exist_ok=True)
        (partial / _SETTINGS).write_text(settings)


def _check_kept(folder: Path, settings: str) -> None:
    """Refuses a model that was made otherwise than it would be now."""
    path = folder / _SETTINGS
    if not path.is_file() or path.read_text() != settings:
        raise ValueError(
            f"{folder} was made with other settings than the recipe has now; "
            f"{path} has them. Remove it, and what was made of it, or choose "
            "another output folder."
        )


def _settings(config: "PretrainConfig", tokenizer: "Tokenizer") -> str:
    """What a model is made with; not where things lie."""
    settings = dataclasses.asdict(config)
    del settings["output"], settings["base"]
    digest = hashlib.sha256(tokenizer.model_proto).hexdigest()
    pieces = tokenizer.piece_count
    settings["vocabulary"] = {"pieces": pieces, "sha256": digest}
    return json.dumps(settings, indent=2) + "\n"


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
