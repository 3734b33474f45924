"""The models that can be asked for by name, and where each is looked for."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from keras_prompt.models.t5.config import T5Config
from keras_prompt.registry import lookup

_SHIPPED = Path(__file__).parent / "presets"


@dataclasses.dataclass(frozen=True)
class Preset:
    """A model by name.

    Attributes:
        name: as `from_preset` takes it.
        config: its sizes.
        is_adapted: whether it was LM-adapted, which prompts need (Lester et
            al. 2021, section 3.4).
        source: where its checkpoint is published; empty for one that ships.
    """

    name: str
    config: T5Config
    is_adapted: bool
    source: str = ""

    @property
    def folder(self) -> Path:
        """Where a preset that ships lies in this package."""
        return _SHIPPED / self.name


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


# Raffel et al.'s released T5 1.1; parameter counts: Lester et al., table 4.
_PUBLISHED = {
    "small": _t5_1_1(512, 6, 8, 1024),
    "base": _t5_1_1(768, 12, 12, 2048),
    "large": _t5_1_1(1024, 16, 24, 2816),
    "xl": _t5_1_1(2048, 32, 24, 5120),
    "xxl": _t5_1_1(4096, 64, 24, 10_240),
}
_BUCKET = "gs://t5-data/pretrained_models"
_NANO = Preset(
    "t5_1_1_nano_lm",
    T5Config(
        vocab_size=8128,
        d_model=192,
        d_kv=64,
        d_ff=512,
        num_heads=3,
        num_encoder_layers=4,
        num_decoder_layers=2,
    ),
    is_adapted=True,
)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {_NANO.name: _NANO}
    | {
        f"t5_1_1_{size}_lm100k": Preset(
            f"t5_1_1_{size}_lm100k",
            config,
            is_adapted=True,
            source=f"{_BUCKET}/t5.1.1.lm100k.{size}",
        )
        for size, config in _PUBLISHED.items()
    }
    | {
        f"t5_1_1_{size}": Preset(
            f"t5_1_1_{size}",
            config,
            is_adapted=False,
            source=f"{_BUCKET}/t5.1.1.{size}",
        )
        for size, config in _PUBLISHED.items()
    }
)


def find_checkpoint(name_or_path: str | Path) -> Path:
    """The folder of a preset that ships, or of a path.

    Raises:
        ValueError: the name is no preset's, or the preset does not ship and
            has to be downloaded first.
        FileNotFoundError: it looks like a path, and nothing is there.
    """
    path = Path(name_or_path)
    if path.is_dir():
        return path
    if len(path.parts) > 1 or path.exists():
        raise FileNotFoundError(
            f"No checkpoint folder at {path}. Give a preset's name "
            f"({', '.join(PRESETS)}) or a folder with config.json, "
            "model.safetensors and spiece.model."
        )
    preset = lookup("preset", str(name_or_path), PRESETS)
    if not preset.folder.is_dir():
        size = preset.name.split("_")[3]
        public = "-lm-adapt" if preset.is_adapted else "-v1_1"
        raise ValueError(
            f"Preset '{preset.name}' does not ship with this package. "
            f"Download its Hugging Face folder (google/t5-{size}{public} or "
            f"google/t5-v1_1-{size}), convert it to safetensors if it is "
            "not, and pass the folder's path to `from_preset`."
        )
    return preset.folder
