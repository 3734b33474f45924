"""Text-to-text rows: tensors in, text and numbers of Python out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf

_ROWS_AT_A_TIME = 1024


def check_columns(columns: Any, name: str) -> None:
    """Refuses rows that are no examples.

    Args:
        columns: a data set's `element_spec`.
        name: of the task, for errors.

    Raises:
        ValueError: "inputs" or "targets" is absent or not one text a row, or
            a column has columns of its own.
    """
    import tensorflow as tf

    found = sorted(columns) if isinstance(columns, Mapping) else []
    missing = {"inputs", "targets"} - set(found)
    if missing:
        raise ValueError(
            f"The rows of task '{name}' must have the columns inputs and "
            f"targets after preprocessing. Missing: "
            f"{', '.join(sorted(missing))}. Found: "
            f"{', '.join(found) or 'none'}."
        )
    for column, spec in columns.items():
        if not isinstance(spec, tf.TensorSpec | tf.RaggedTensorSpec):
            raise ValueError(
                f"The column '{column}' of task '{name}' must be text, numbers "
                "or lists of these after preprocessing. Received: "
                f"{_described(spec)}. Leave it out, or make its parts columns "
                "of their own."
            )
    for column in ("inputs", "targets"):
        spec = columns[column]
        # tf.numpy_function leaves the rank open.
        if spec.dtype != tf.string or spec.shape.rank not in (0, None):
            raise ValueError(
                f"The column '{column}' of task '{name}' must be one text a "
                f"row. Received: {spec.dtype.name} of shape {spec.shape}."
            )


def python_rows(dataset: "tf.data.Dataset") -> list[dict[str, Any]]:
    """All rows; bytes become str, and tensors numbers or lists."""
    examples: list[dict[str, Any]] = []
    for batch in dataset.ragged_batch(_ROWS_AT_A_TIME):
        columns = {key: _to_python(batch[key]) for key in batch}
        examples += [
            dict(zip(columns, row, strict=True))
            for row in zip(*columns.values(), strict=True)
        ]
    return examples


def _described(spec: Any) -> str:
    """What a column that is no single tensor consists of."""
    if isinstance(spec, Mapping):
        return f"a column with the columns {', '.join(sorted(spec))}"
    return type(spec).__name__


def _to_python(column: Any) -> list[Any]:
    """The rows of a batched column."""
    rows = column.to_list() if hasattr(column, "to_list") else column.numpy()
    return [
        _decoded(row)
        for row in (rows if isinstance(rows, list) else rows.tolist())
    ]


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return value
