"""Documents from any text data set of TensorFlow Datasets."""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_prompt.registry import lookup
from keras_prompt.tasks import prepared
from keras_prompt.tasks.documents import Document, paragraphs_of
from keras_prompt.tasks.tfds_source import data_root, download

# The split may be a slice, which has a colon and slashes have not.
_FORM = re.compile(r"tfds:(?P<name>.+)/(?P<split>[^/]+):(?P<feature>[^:\]]+)")


@dataclasses.dataclass(frozen=True)
class TfdsDocuments:
    """One feature of one split; a row is a document, a line a paragraph.

    Attributes:
        data_set: tfds' name with configuration and, if need be, version:
            "wiki40b/en", "wiki40b/en:1.3.0".
        split: a name, or tfds' slice of one: "train[:1%]".
        feature: which holds the text.
    """

    data_set: str
    split: str
    feature: str

    @classmethod
    def parse(cls, word: str) -> "TfdsDocuments":
        """Reads "tfds:NAME/SPLIT:FEATURE".

        Raises:
            ValueError: the word has another form.
        """
        match = _FORM.fullmatch(word)
        if match is None:
            raise ValueError(
                "A source of TensorFlow Datasets is written "
                "tfds:NAME/SPLIT:FEATURE, e.g. tfds:wiki40b/en/train:text. "
                f"Received: {word}"
            )
        return cls(match["name"], match["split"], match["feature"])

    @property
    def name(self) -> str:
        """Data set and split."""
        return f"{self.data_set}/{self.split}"

    def version(self) -> str:
        """The data set with its version, split, feature and rows.

        Raises:
            FileNotFoundError: it is not prepared and cannot be downloaded.
            ValueError: there is no such data set, split or feature, or it is
                damaged.
        """
        builder = self._builder()
        rows = builder.info.splits[self.split].num_examples
        return f"{builder.info.full_name} {self.split} {self.feature} {rows}"

    def documents(self) -> Iterator[Document]:
        """The paragraphs of each row that has any.

        Raises:
            FileNotFoundError: it is not prepared and cannot be downloaded.
            ValueError: there is no such data set, split or feature, or it is
                damaged.
        """
        import tensorflow_datasets as tfds

        builder = self._builder()
        rows = builder.as_dataset(
            split=self.split,
            shuffle_files=False,
            read_config=tfds.ReadConfig(try_autocache=False),
            decoders=tfds.decode.PartialDecoding({self.feature: True}),
        )
        with prepared.reading(Path(builder.data_dir)):
            for row in rows.as_numpy_iterator():
                paragraphs = paragraphs_of(row[self.feature].decode())
                if paragraphs:
                    yield paragraphs

    def _builder(self) -> Any:
        import tensorflow_datasets as tfds

        root = data_root()
        try:
            builder = tfds.builder(self.data_set, data_dir=root)
        except (ImportError, OSError):  # these say what is missing
            raise
        except Exception as error:  # of whatever kind tfds raises
            raise self._refusal(root, error) from error
        if not builder.info.splits:
            download(builder)
        self._check(builder)
        return builder

    def _refusal(self, root: Path, error: Exception) -> ValueError:
        """Of a name that tfds does not know, or a file it cannot read."""
        folder = root / self.data_set.replace(":", "/")
        is_of_name = isinstance(error, AssertionError | TypeError | ValueError)
        is_of_file = isinstance(error, json.JSONDecodeError) or not is_of_name
        if is_of_file and folder.is_dir():
            return prepared.damaged(folder, error)
        is_of_version = isinstance(error, AssertionError)
        reason = f" ({prepared.reason(error)})" if is_of_version else ""
        return ValueError(
            f"TensorFlow Datasets knows no '{self.data_set}', and none is "
            f"prepared in {root}{reason}."
        )

    def _check(self, builder: Any) -> None:
        lookup("split", self.split.split("[")[0], builder.info.splits)
        try:
            builder.info.splits[self.split].num_examples  # noqa: B018
        except (AssertionError, ValueError, KeyError) as error:
            raise ValueError(
                "A split must be a name, or a slice such as train[:1%]. "
                f"Received: {self.split} ({error})"
            ) from error
        features = builder.info.features
        texts = {
            name: feature
            for name, feature in features.items()
            if feature.dtype in (str, bytes, object) and not feature.shape
        }
        lookup(f"text feature of {self.data_set}", self.feature, texts)
