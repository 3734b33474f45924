"""Kinds of command-line values, checked while the line is read."""

import argparse
import math
from collections.abc import Callable
from typing import TypeVar

from keras_prompt.arguments import LARGEST, LONGEST

Number = TypeVar("Number", int, float)


def positive_integer(text: str) -> int:
    """A whole number from 1, at most `arguments.LARGEST`.

    Raises:
        argparse.ArgumentTypeError: the text is no such number.
    """
    return _checked(
        text, _integer, lambda value: value > 0, "a positive integer"
    )


def written_length(text: str) -> int:
    """A number of tokens from 1, at most `arguments.LONGEST`.

    Raises:
        argparse.ArgumentTypeError: the text is no such number.
    """
    value = positive_integer(text)
    _check_most(value, LONGEST, text)
    return value


def natural_number(text: str) -> int:
    """A whole number from 0, at most `arguments.LARGEST`.

    Raises:
        argparse.ArgumentTypeError: the text is no such number.
    """
    return _checked(text, _integer, lambda value: value >= 0, "0 or more")


def positive_number(text: str) -> float:
    """A finite number above 0.

    Raises:
        argparse.ArgumentTypeError: the text is no such number.
    """
    return _checked(
        text,
        float,
        lambda value: value > 0 and math.isfinite(value),
        "a positive number",
    )


def probability(text: str) -> float:
    """A number from 0, below 1.

    Raises:
        argparse.ArgumentTypeError: the text is no such number.
    """
    return _checked(
        text, float, lambda value: 0 <= value < 1, "at least 0 and below 1"
    )


def _integer(text: str) -> int:
    value = int(text)
    _check_most(value, LARGEST, text)
    return value


def _check_most(value: int, most: int, text: str) -> None:
    if value > most:
        raise argparse.ArgumentTypeError(
            f"must be at most {most:,}. Received: {text:.40}"
        )


def _checked(
    text: str,
    convert: Callable[[str], Number],
    is_right: Callable[[Number], bool],
    rule: str,
) -> Number:
    try:
        value = convert(text)
    except ValueError:
        value = None
    if value is None or not is_right(value):
        raise argparse.ArgumentTypeError(f"must be {rule}. Received: {text}")
    return value
