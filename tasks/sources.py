"""Rows from memory and from files; tfds_source.py has TensorFlow Datasets."""

import csv
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_prompt.registry import lookup

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class RowsSource:
    """Rows that are in memory already.

    Attributes:
        rows: for each split a list of dicts, all with the same columns. A
            value is a str, int, float or bool of Python or NumPy, or a list
            of one of these.

    >>> source = RowsSource({"train": [{"inputs": "1 + 1", "targets": "2"}]})
    >>> source.splits
    ('train',)
    """

    rows: Mapping[str, Sequence[Mapping[str, Any]]]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits there are."""
        return tuple(self.rows)

    def dataset(self, split: str) -> "tf.data.Dataset":
        """One dict of tensors per row.

        Raises:
            ValueError: no such split, no rows, or rows of unequal columns.
        """
        rows = lookup("split", split, self.rows)
        return dataset_of_rows(rows, f"split '{split}'")


@dataclasses.dataclass(frozen=True)
class FileSource:
    """Rows of .jsonl, .csv or .tsv files.

    A .csv or .tsv file starts with a line of column names, and its values
    are text. Quotes in a .tsv file mean nothing, as in GLUE's files.

    Attributes:
        paths: the file of each split.
        columns: which columns to read, `{name here: name in the file}`; empty
            reads all under their own names.
    """

    paths: Mapping[str, str | Path]
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits there are."""
        return tuple(self.paths)

    def dataset(self, split: str) -> "tf.data.Dataset":
        """One dict of tensors per row.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: no such split, no rows, a broken line, or a column
                that is not there, or is there twice.
        """
        path = Path(lookup("split", split, self.paths))
        readers = {".jsonl": _jsonl, ".csv": _csv, ".tsv": _tsv}
        if path.suffix not in readers:
            raise ValueError(
                f"A data file must end in .jsonl, .csv or .tsv. Received: "
                f"{path}"
            )
        if not path.is_file():
            raise FileNotFoundError(f"No data file for '{split}' at {path}.")
        try:
            rows = [
                self._renamed(row, path, number)
                for number, row in readers[path.suffix](path)
            ]
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8: {error}") from error
        return dataset_of_rows(rows, str(path))

    def _renamed(
        self, row: Mapping[str, Any], path: Path, number: int
    ) -> Mapping[str, Any]:
        missing = [name for name in self.columns.values() if name not in row]
        if missing:
            raise ValueError(
                f"{path}, line {number}, has no column "
                f"{', '.join(map(repr, missing))}. Found: {', '.join(row)}."
            )
        if not self.columns:
            return row
        return {ours: row[theirs] for ours, theirs in self.columns.items()}


def dataset_of_rows(
    rows: Sequence[Mapping[str, Any]], where: str
) -> "tf.data.Dataset":
    """A dataset of rows, checked.

    Args:
        rows: dicts of equal columns.
        where: the rows' place, for errors.

    Raises:
        ValueError: no rows, unequal columns, or values of unequal types.
    """
    import tensorflow as tf

    if not rows:
        raise ValueError(f"There are no rows in {where}.")
    columns = list(rows[0])
    for number, row in enumerate(rows):
        if set(row) != set(columns):
            raise ValueError(
                f"Every row needs the same columns. In {where} row 0 has "
                f"{', '.join(columns)}; row {number} has {', '.join(row)}."
            )
    return tf.data.Dataset.from_tensor_slices(
        {
            column: _tensor([row[column] for row in rows], column, where)
            for column in columns
        }
    )


def _tensor(values: list[Any], column: str, where: str) -> Any:
    """A column as a tensor, lists as a ragged one; numbers in 64 bits."""
    import tensorflow as tf

    values = [_plain(value) for value in values]
    is_list = isinstance(values[0], list)
    items = [item for row in values for item in row] if is_list else values
    kind = type(items[0]) if items else str
    for number, value in enumerate(values):
        row = value if isinstance(value, list) else [value]
        if isinstance(value, list) != is_list or any(
            type(item) is not kind for item in row
        ):
            raise ValueError(
                f"The column '{column}' in {where} must hold values of one "
                f"type. Row 0 has {values[0]!r}; row {number} has {value!r}."
            )
        if not all(_is_storable(item) for item in row):
            raise ValueError(
                f"The column '{column}' in {where} must hold Unicode text, "
                "numbers of at most 64 bits or lists of these. Row "
                f"{number} has {value!r}."
            )
    dtype = {
        str: tf.string,
        int: tf.int64,
        float: tf.float64,
        bool: tf.bool,
    }[kind]
    if is_list:
        return tf.ragged.constant(values, dtype, ragged_rank=1)
    return tf.constant(values, dtype)


def _plain(value: Any) -> Any:
    """Python's own type of a value: of NumPy's, of an enumeration's."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)  # str() of an enumeration's is its name
    for kind in (bool, int, float):  # bool is an int
        if isinstance(value, kind):
            return kind(value)
    return value


def _is_storable(value: Any) -> bool:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:  # half a surrogate pair: an emoji cut in two
            return False
        return True
    if type(value) is int:
        return -(2**63) <= value < 2**63
    return isinstance(value, bool | float)


def _jsonl(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, object_pairs_hook=_each_key_once)
            except json.JSONDecodeError as error:
                raise ValueError(
                    f"{path}, line {number}, is no JSON: {error}"
                ) from error
            except RecursionError as error:
                raise ValueError(
                    f"{path}, line {number}, is nested too deeply. A value "
                    "must be text, a number or a list of these."
                ) from error
            except ValueError as error:  # a key, or a number of 4,301 digits
                raise ValueError(
                    f"{path}, line {number}, cannot be read: {error}."
                ) from error
            if not isinstance(row, dict):
                raise ValueError(
                    f"{path}, line {number}, must be a JSON object. "
                    f"Received: {line.strip()[:60]}"
                )
            yield number, row


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; Python's own keeps the last value of a key alone."""
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = {key: None for key in keys if keys.count(key) > 1}
        raise ValueError(
            f"it must have each key once, and has {', '.join(map(repr, twice))}"
            " twice or more; rename or remove all but one"
        )
    return row


def _csv(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    # strict: an open quote would swallow all lines up to the next one.
    return _table(path, delimiter=",", quoting=csv.QUOTE_MINIMAL, strict=True)


def _tsv(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    return _table(path, delimiter="\t", quoting=csv.QUOTE_NONE)


def _table(
    path: Path, **dialect: Any
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, **dialect)
        rows = _values(reader, path)
        header = next(rows, [])
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise ValueError(
                f"{path} must name each column once. Twice or more: "
                f"{', '.join(map(repr, twice))}. Rename them."
            )
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise ValueError(
                    f"{path}, line {reader.line_num}, has {len(row)} values "
                    f"for the {len(header)} columns {', '.join(header)}."
                )
            yield reader.line_num, dict(zip(header, row, strict=True))


def _values(reader: Any, path: Path) -> Iterator[list[str]]:
    """The rows of a csv reader; the error says where a row is broken."""
    try:
        yield from reader
    except csv.Error as error:
        raise ValueError(
            f"{path} is no table of values: {error}, in the row that ends at "
            f"line {reader.line_num}. Close each quote, write a quote within "
            "quotes twice, or put long texts into a .jsonl file."
        ) from error
