"""A bank's prompts in a file of weights, told apart by their names.

Keras tells weights apart by their order: another bank's prompts, or the same
in another order, would pass for a bank's own. Letter: D d_model.
"""

import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from keras_prompt.types import FloatArray

_PROMPT = "prompt-"  # before a name


def write_prompts(store: Any, prompts: Mapping[str, keras.Variable]) -> None:
    """Puts every prompt into what Keras saves of a layer.

    Args:
        store: a mapping from keys to arrays.
        prompts: by name, each float32 (its length, D).
    """
    for name, weight in prompts.items():
        store[_key(name)] = weight.numpy()


def read_prompts(
    store: Any, prompts: Mapping[str, keras.Variable]
) -> dict[str, FloatArray]:
    """Every prompt's value, float32 (its length, D), by name.

    Args:
        store: as `write_prompts` left it.
        prompts: that are to have them; none changes.

    Raises:
        ValueError: the file's prompts have other names, or other shapes.
    """
    saved = set(store.keys())
    if saved != set(map(_key, prompts)):
        raise ValueError(
            f"The weights are of a bank of {_names(saved)}; this one is of "
            f"{', '.join(prompts)}. Load the prompts, PromptBank.load, or "
            "make a bank of those names, in any order."
        )
    values = {name: store[_key(name)] for name in prompts}
    for name, value in values.items():
        if value.shape != prompts[name].shape:
            raise ValueError(
                f"Prompt '{name}' has shape {value.shape} in the weights, and "
                f"{prompts[name].shape} in this bank."
            )
    return values


def _key(name: str) -> str:
    """A name as a path in the file, where "/" divides."""
    return _PROMPT + urllib.parse.quote(name, safe="")


def _names(keys: Iterable[str]) -> str:
    """The prompts' names in the file, for a message."""
    found = [urllib.parse.unquote(key.removeprefix(_PROMPT)) for key in keys]
    return ", ".join(sorted(found)) or "no prompts"
