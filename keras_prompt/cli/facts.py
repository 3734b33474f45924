"""Prints what is known of a thing: a name and a value a line."""

from collections.abc import Mapping
from typing import Any


def print_facts(facts: Mapping[str, Any]) -> None:
    """The names in one column, the values, readable, in another."""
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {readable(value)}")


def readable(value: Any) -> str:
    """A value as a person writes it.

    >>> readable({"train": 2490, "test": 3000}), readable(["a", "b"])
    ('train 2,490, test 3,000', 'a, b')
    >>> readable(True), readable(None), readable(()), readable(3.14159265)
    ('yes', '-', '-', '3.14159')
    """
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.6g}"
        case Mapping():
            items = [f"{key} {readable(item)}" for key, item in value.items()]
            return ", ".join(items) or "-"
        case list() | tuple():
            return ", ".join(map(readable, value)) or "-"
        case None:
            return "-"
    return str(value)
