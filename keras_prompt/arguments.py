"""The one rule that whole numbers among arguments keep."""

import numbers

LARGEST = 2**31 - 1  # TensorFlow counts in int32
LONGEST = LARGEST - 1  # of what is written, after a start token


def check_integers(
    **values: tuple[object, int] | tuple[object, int, int],
) -> None:
    """Refuses what is no integer, too small or too large.

    Args:
        values: by an argument's name, what came, the least that may, and the
            largest, `LARGEST` if it is left out. Python's and NumPy's
            integers are integers; True and False, which Python counts among
            them, are not.

    Raises:
        ValueError: an argument is no integer, too small or too large.

    >>> check_integers(steps=(2.5, 1))
    Traceback (most recent call last):
    ...
    ValueError: `steps` must be a positive integer. Received: steps=2.5
    """
    for name, (value, least, *most) in values.items():
        largest = most[0] if most else LARGEST
        if (
            not isinstance(value, numbers.Integral)
            or isinstance(value, bool)
            or value < least
        ):
            rule = (
                "a positive integer"
                if least == 1
                else f"an integer of at least {least:,}"
            )
        elif int(value) > largest:
            rule = f"at most {largest:,}"
        else:
            continue
        raise ValueError(f"`{name}` must be {rule}. Received: {name}={value!r}")
