"""A pre-trained T5 and its tokenizer, by a preset's name or a path."""

import warnings
from pathlib import Path
from typing import Any

from keras_prompt.models.checkpoints import formats
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.presets import (
    find_checkpoint,
    is_adapted,
    preset_name,
)
from keras_prompt.tokenizer import Tokenizer

_NOT_ADAPTED = (
    "'{}' is a T5 1.1 without LM adaptation: it has only ever filled in blanks "
    "marked by sentinels, and prompts mostly fail to make it write anything "
    "else (Lester et al. 2021, section 3). Take an lm100k model, or adapt it "
    "with `keras-prompt adapt`."
)


def load_base(
    preset: str | Path, **options: Any
) -> tuple[MeshT5Backbone, Tokenizer]:
    """A frozen T5 and its tokenizer.

    Args:
        preset: a name of `keras-prompt models`, or a checkpoint's path.
        options: of `MeshT5Backbone`.

    Raises:
        ValueError: an unknown preset, a checkpoint that does not fit, or
            options that do not.
        FileNotFoundError: nothing is at that path, or a preset that does not
            ship is not in the cache folder.

    Warns:
        UserWarning: the model is a T5 1.1 that was not LM-adapted.
    """
    path = find_checkpoint(preset)
    name = preset_name(preset, path)
    if is_adapted(name) is False:
        # At the caller of `from_preset`.
        warnings.warn(_NOT_ADAPTED.format(name), stacklevel=3)
    checkpoint = formats.read(path)
    tokenizer = Tokenizer(checkpoint.vocabulary)
    backbone = MeshT5Backbone(
        checkpoint.config,
        weights=checkpoint.weights,
        preset=name,
        **options,
    )
    return backbone, tokenizer
