"""Rows from TensorFlow Datasets, at a pinned version."""

import contextlib
import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_prompt.registry import lookup
from keras_prompt.tasks import prepared

if TYPE_CHECKING:
    import tensorflow as tf

_LOGGER = logging.getLogger("keras_prompt")
_PROBE_SECONDS = 10


@dataclasses.dataclass(frozen=True)
class TfdsSource:
    """A data set of TensorFlow Datasets.

    It is read from `data_dir`, where tfds or `keras-prompt tasks prepare` put
    it, or else downloaded by tfds.

    Attributes:
        name: tfds' name with the configuration, e.g. "super_glue/boolq".
        version: e.g. "1.0.2".
        rows: how many rows each split has; another number is reported.
        data_dir: tfds' folder; None is its own default, the environment
            variable TFDS_DATA_DIR or ~/tensorflow_datasets.
    """

    name: str
    version: str
    rows: Mapping[str, int]
    data_dir: str | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits there are."""
        return tuple(self.rows)

    @property
    def root(self) -> Path:
        """The folder of all of tfds' data sets."""
        return data_root(self.data_dir)

    @property
    def folder(self) -> Path:
        """Where the prepared data set lies, or will lie."""
        return self.root / self.name / self.version

    def dataset(self, split: str) -> "tf.data.Dataset":
        """One dict of tensors per row, in tfds' order.

        Args:
            split: a name, or tfds' slice of one: "train[:100]".

        Raises:
            ValueError: no such split, a slice that tfds refuses, or it is
                damaged.
            FileNotFoundError: it is neither prepared nor can be downloaded.
        """
        import tensorflow_datasets as tfds

        name = split.split("[")[0]
        lookup("split", name, self.rows)
        if not self.folder.is_dir():
            download(self.builder())
        builder = self.builder()
        if name not in builder.info.splits:
            there = ", ".join(builder.info.splits) or "no split"
            raise FileNotFoundError(
                f"{self.folder} was prepared without the split '{name}': it "
                f"holds {there}. Remove that folder and prepare it anew with "
                f"the missing file."
            )
        found = builder.info.splits[name].num_examples
        if found != self.rows[name]:
            _LOGGER.warning(
                "%s has %d rows in '%s' (the published data set has %d)%s.",
                self.name,
                found,
                name,
                self.rows[name],
                prepared.origin(self.folder, name),
            )
        read_config = tfds.ReadConfig(try_autocache=False)
        try:
            return builder.as_dataset(
                split=split, shuffle_files=False, read_config=read_config
            )
        except (AssertionError, ValueError) as error:
            raise ValueError(
                f"`split` must be one of {', '.join(self.splits)}, or a slice "
                f"such as train[:100]. Received: split={split!r} ({error})"
            ) from error

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """To iterate over the rows of `dataset` in.

        Raises:
            ValueError: they are damaged.
        """
        return prepared.reading(self.folder)

    def builder(self) -> Any:
        """The tfds builder of the pinned version.

        tfds reads every supported version but generates only the newest.
        GLUE's 1.0.0 differs from 2.0.0 in no code, only in its links, so the
        pinned version is declared the one to generate.

        Raises:
            ValueError: the data set is damaged.
        """
        import tensorflow_datasets as tfds

        try:
            builder = tfds.builder(
                f"{self.name}:{self.version}", data_dir=self.root
            )
        except (ImportError, OSError):  # these say what is missing
            raise
        except Exception as error:  # of whatever kind tfds raises
            if not self.folder.is_dir():
                raise
            raise prepared.damaged(self.folder, error) from error
        builder.canonical_version = builder.version
        return builder


def data_root(data_dir: str | None = None) -> Path:
    """The folder of tfds; None is TFDS_DATA_DIR or ~/tensorflow_datasets."""
    root = data_dir or os.environ.get("TFDS_DATA_DIR")
    return Path(root or "~/tensorflow_datasets").expanduser()


def download(builder: Any) -> None:
    """Downloads and prepares a data set.

    Raises:
        FileNotFoundError: it cannot be downloaded.
    """
    make_manager = builder._make_download_manager
    builder._make_download_manager = lambda **arguments: _probing(
        make_manager(**arguments)
    )
    try:
        # tfds prints its progress; results alone go to standard output.
        with contextlib.redirect_stdout(sys.stderr):
            builder.download_and_prepare()
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        name = builder.info.full_name.rpartition("/")[0]
        raise FileNotFoundError(
            f"{name} {builder.version} is not in {builder.data_dir} and "
            f"cannot be downloaded ({type(error).__name__}: {reason})."
            + prepared.advice(name)
        ) from error


def _probing(manager: Any) -> Any:
    """A download manager that asks for an address once before it downloads.

    tfds' own tries ten times, for minutes, where there is no network.
    """
    import requests

    def asked_first(download: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def probe_and_download(urls: Any) -> Any:
            url = next(iter(urls.values())) if isinstance(urls, dict) else urls
            requests.head(url, timeout=_PROBE_SECONDS, allow_redirects=True)
            return download(urls)

        return probe_and_download

    manager.download = asked_first(manager.download)
    manager.download_and_extract = asked_first(manager.download_and_extract)
    return manager
