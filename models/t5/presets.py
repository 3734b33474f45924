"""The models that can be asked for by name, and where each is looked for."""

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from keras_prompt.models.t5 import keras_hub_presets
from keras_prompt.models.t5.config import T5Config
from keras_prompt.registry import lookup

HOME_VARIABLE = "KERAS_PROMPT_HOME"

_SHIPPED = Path(__file__).parent / "presets"
_ADAPTED = re.compile(r"lm100k|lm[-_]adapt", re.IGNORECASE)
# As T5, Hugging Face, KerasHub and this package spell it.
_T5_1_1 = re.compile(
    r"t5[._-]v?1[._]1[._-](small|base|large|xl|xxl)", re.IGNORECASE
)


@dataclasses.dataclass(frozen=True)
class Preset:
    """A model by name.

    Attributes:
        name: as `from_preset` takes it.
        config: its sizes.
        is_adapted: whether it was LM-adapted, which prompts need (Lester et
            al. 2021, section 3.4).
        source: where its Mesh TensorFlow checkpoint is published; empty for
            one that ships.
        hugging_face: the repository of the same weights there.
    """

    name: str
    config: T5Config
    is_adapted: bool
    source: str = ""
    hugging_face: str = ""

    @property
    def ships(self) -> bool:
        """Whether it comes with this package."""
        return not self.source

    @property
    def folder(self) -> Path:
        """Where its checkpoint lies, or has to be put."""
        return (_SHIPPED if self.ships else cache_folder()) / self.name

    @property
    def is_here(self) -> bool:
        """Whether there is anything at `folder`."""
        return self.folder.is_dir() and any(self.folder.iterdir())


def cache_folder() -> Path:
    """Where downloaded checkpoints are looked for, each under its name.

    `KERAS_PROMPT_HOME`, or else `~/.cache/keras_prompt`.
    """
    given = os.environ.get(HOME_VARIABLE)
    return Path(given) if given else Path.home() / ".cache" / "keras_prompt"


def _t5_1_1(d_model: int, heads: int, layers: int, d_ff: int) -> T5Config:
    return T5Config(
        vocab_size=32_128,
        d_model=d_model,
        d_kv=64,
        d_ff=d_ff,
        num_heads=heads,
        num_encoder_layers=layers,
        num_decoder_layers=layers,
    )


def _small(d_model: int, d_kv: int, d_ff: int, heads: int) -> T5Config:
    return T5Config(
        vocab_size=8128,
        d_model=d_model,
        d_kv=d_kv,
        d_ff=d_ff,
        num_heads=heads,
        num_encoder_layers=4,
        num_decoder_layers=2,
    )


# Raffel et al.'s released T5 1.1; parameter counts: Lester et al., table 4.
_PUBLISHED = {
    "small": _t5_1_1(512, 6, 8, 1024),
    "base": _t5_1_1(768, 12, 12, 2048),
    "large": _t5_1_1(1024, 16, 24, 2816),
    "xl": _t5_1_1(2048, 32, 24, 5120),
    "xxl": _t5_1_1(4096, 64, 24, 10_240),
}
_BUCKET = "gs://t5-data/pretrained_models"
_SMALL = {  # as in recipes/small_models.toml
    "pico": _small(d_model=64, d_kv=32, d_ff=192, heads=2),
    "nano": _small(d_model=192, d_kv=64, d_ff=512, heads=3),
}

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        f"t5_1_1_{size}_lm": Preset(
            f"t5_1_1_{size}_lm", config, is_adapted=True
        )
        for size, config in _SMALL.items()
    }
    | {
        f"t5_1_1_{size}_lm100k": Preset(
            f"t5_1_1_{size}_lm100k",
            config,
            is_adapted=True,
            source=f"{_BUCKET}/t5.1.1.lm100k.{size}",
            hugging_face=f"google/t5-{size}-lm-adapt",
        )
        for size, config in _PUBLISHED.items()
    }
    | {
        f"t5_1_1_{size}": Preset(
            f"t5_1_1_{size}",
            config,
            is_adapted=False,
            source=f"{_BUCKET}/t5.1.1.{size}",
            hugging_face=f"google/t5-v1_1-{size}",
        )
        for size, config in _PUBLISHED.items()
    }
)


def find_checkpoint(name_or_path: str | Path) -> Path:
    """Where a preset lies, or the path itself; its format is not looked at.

    A path may be a folder, the file of an older T5X checkpoint, or one step
    of Mesh TensorFlow's, `folder/model.ckpt-1100000`.

    Raises:
        ValueError: the name is no preset's.
        FileNotFoundError: it looks like a path, and nothing is there; or it
            is a preset's name, and its checkpoint is not here.
    """
    path = Path(name_or_path)
    if path.is_dir() or path.is_file():
        return path
    if path.name and path.with_name(f"{path.name}.index").is_file():
        return path
    if len(path.parts) > 1:
        raise FileNotFoundError(
            f"No checkpoint at {path}. Give a preset's name "
            f"({', '.join(PRESETS)}) or the path of a checkpoint."
        )
    name = str(name_or_path)
    if name in keras_hub_presets.NAMES:
        return keras_hub_presets.find(name)
    known = {**PRESETS, **dict.fromkeys(keras_hub_presets.NAMES)}
    preset = lookup("preset", name, known)
    assert preset is not None
    if not preset.is_here:
        raise FileNotFoundError(
            f"Preset '{name}' is not here. Where there is a network, download "
            f"{preset.source} (gsutil cp -r) and T5's vocabulary, "
            "gs://t5-data/vocabs/cc_all.32000/sentencepiece.model, or the "
            f"Hugging Face repository {preset.hugging_face}, and put the "
            f"files into {preset.folder} (the cache folder, {HOME_VARIABLE}, "
            "and the preset's name); or give a checkpoint's path."
        )
    return preset.folder


def preset_name(name_or_path: str | Path, path: Path) -> str:
    """What to call a model that `find_checkpoint` found at `path`.

    The names that runs give, of a step or "model", tell nothing: the folder
    that they lie in is taken. A number alone goes behind that folder's name.
    """
    name = str(name_or_path)
    if name in PRESETS or name in keras_hub_presets.NAMES:
        return name
    path = path.resolve()
    if path.name.isdecimal():
        return f"{path.parent.name}-{path.name}"
    is_any = re.fullmatch(r"model\.ckpt-\d+|checkpoint_\d+|model", path.name)
    return path.parent.name if is_any else path.name


def is_adapted(name: str) -> bool | None:
    """Whether a model was LM-adapted, as far as its name tells.

    >>> is_adapted("t5-v1_1-base"), is_adapted("t5.1.1.lm100k.base")
    (False, True)
    """
    if name in PRESETS:
        return PRESETS[name].is_adapted
    if _ADAPTED.search(name):
        return True
    return False if _T5_1_1.fullmatch(name) else None
