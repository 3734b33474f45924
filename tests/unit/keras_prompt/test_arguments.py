"""One rule for whole numbers: which are taken, and what is said of others."""

import numpy as np
import pytest

from keras_prompt.arguments import check_integers


@pytest.mark.parametrize(
    ("value", "least"), [(1, 1), (7, 1), (0, 0), (np.int64(2), 2)]
)
def test_an_integer_that_is_large_enough_is_taken(value, least):
    check_integers(steps=(value, least))


@pytest.mark.parametrize(
    ("value", "least", "rule"),
    [
        (0, 1, "a positive integer"),
        (-1, 0, "an integer of at least 0"),
        (np.int32(1), 2, "an integer of at least 2"),
        (2.0, 1, "a positive integer"),
        (np.float32(2), 1, "a positive integer"),
        (True, 1, "a positive integer"),
        (np.True_, 0, "an integer of at least 0"),
        ("3", 1, "a positive integer"),
        (None, 1, "a positive integer"),
        (2**31, 1, "at most 2,147,483,647"),
        (np.int64(2**40), 0, "at most 2,147,483,647"),
        (-2, -1, "an integer of at least -1"),
        (-(2**31), 1 - 2**31, "an integer of at least -2,147,483,647"),
    ],
)
def test_another_value_is_refused_with_what_came(value, least, rule):
    with pytest.raises(ValueError, match="`steps` must be") as refusal:
        check_integers(batch_size=(8, 1), steps=(value, least))
    assert str(refusal.value) == (
        f"`steps` must be {rule}. Received: steps={value!r}"
    )


def test_a_largest_value_of_its_own_is_told():
    check_integers(length=(9, 1, 9))
    with pytest.raises(ValueError, match="`length` must be at most 9"):
        check_integers(length=(10, 1, 9))
