"""KerasHub's names of T5 models, and where its downloads lie.

KerasHub downloads through kagglehub, which keeps a model under
`models/keras/t5/keras/NAME/VERSION` of its cache. Source: KerasHub's
`t5_presets.py` and kagglehub's `cache.py`.
"""

import os
from pathlib import Path

NAMES = (
    "t5_small_multi",
    "t5_base_multi",
    "t5_large_multi",
    "t5_1.1_small",
    "t5_1.1_base",
    "t5_1.1_large",
    "t5_1.1_xl",
    "t5_1.1_xxl",
    "flan_small_multi",
    "flan_base_multi",
    "flan_large_multi",
)


def cache_folder() -> Path:
    """kagglehub's: `KAGGLEHUB_CACHE`, or else `~/.cache/kagglehub`."""
    given = os.environ.get("KAGGLEHUB_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "kagglehub"


def versions(name: str) -> list[Path]:
    """The versions of a preset that were downloaded, the newest last."""
    folder = cache_folder() / "models" / "keras" / "t5" / "keras" / name
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(
        (path for path in found if path.is_dir() and path.name.isdigit()),
        key=lambda path: int(path.name),
    )


def find(name: str) -> Path:
    """The newest version of a preset.

    Raises:
        FileNotFoundError: none is here.
    """
    found = versions(name)
    if not found:
        raise FileNotFoundError(
            f"KerasHub's preset '{name}' is not in its cache folder, "
            f"{cache_folder()} (KAGGLEHUB_CACHE). Where there is a network, "
            f"kagglehub.model_download('keras/t5/keras/{name}') puts it "
            "there; or copy the preset's folder and give its path."
        )
    return found[-1]
