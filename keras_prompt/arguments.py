"""The one rule that whole numbers among arguments keep."""

import numbers

LARGEST = 2**31 - 1  # TensorFlow counts in int32


def check_integers(**values: tuple[object, int]) -> None:
    """Refuses what is no integer, too small, or above `LARGEST`.

    Args:
        values: by an argument's name, what came and the least that may.
            Python's and NumPy's integers are integers; True and False, which
            Python counts among them, are not.

    Raises:
        ValueError: an argument is no integer, too small or too large.

    >>> check_integers(steps=(2.5, 1))
    Traceback (most recent call last):
    ...
    ValueError: `steps` must be a positive integer. Received: steps=2.5
    """
    for name, (value, least) in values.items():
        if (
            not isinstance(value, numbers.Integral)
            or isinstance(value, bool)
            or value < least
        ):
            rule = (
                "a positive integer"
                if least == 1
                else f"an integer of at least {least}"
            )
        elif int(value) > LARGEST:
            rule = f"at most {LARGEST:,}"
        else:
            continue
        raise ValueError(f"`{name}` must be {rule}. Received: {name}={value!r}")
