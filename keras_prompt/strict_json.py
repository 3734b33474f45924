"""JSON as RFC 8259 has it, which knows no NaN and no infinity."""

import json
import math
from collections.abc import Mapping
from typing import Any


def strict_json(values: Any, indent: int | None = None) -> str:
    """Values as JSON, null in place of every number that is not finite.

    Args:
        values: as `json.dumps` takes them.
        indent: of `json.dumps`.

    >>> strict_json({"scores": [0.5, float("nan")], "best": -float("inf")})
    '{"scores": [0.5, null], "best": null}'
    """
    return json.dumps(_finite(values), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {name: _finite(item) for name, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
    return value
