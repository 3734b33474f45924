"""Finds a thing by its name, and names the nearest one when it is misspelt."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")


def lookup(kind: str, name: str, known: Mapping[str, Value]) -> Value:
    """Returns `known[name]`.

    Args:
        kind: what the names stand for, as the error should say it ("task").
        name: the name asked for.
        known: every name there is.

    Raises:
        ValueError: there is no such name; the message suggests the nearest.

    >>> lookup("task", "bolq", {"boolq": 1, "cb": 2})
    Traceback (most recent call last):
    ...
    ValueError: Unknown task 'bolq'. Did you mean 'boolq'? Known: boolq, cb.
    """
    if name in known:
        return known[name]
    near = difflib.get_close_matches(str(name), known, n=1)
    suggestion = f" Did you mean '{near[0]}'?" if near else ""
    names = ", ".join(sorted(known)) or "none"
    raise ValueError(f"Unknown {kind} '{name}'.{suggestion} Known: {names}.")
