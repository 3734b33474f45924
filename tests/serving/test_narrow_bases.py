"""Bases in fewer bits are served as their models answer here."""

import pytest
import tensorflow as tf
from asked import REQUESTS, assert_right, assert_stored_once, call


@pytest.fixture(scope="module")
def signatures(narrow):
    return tf.saved_model.load(str(narrow.base)).signatures


@pytest.mark.parametrize("name", REQUESTS)
def test_every_row_gets_what_its_model_would_answer(narrow, signatures, name):
    found = call(signatures, name, REQUESTS[name](narrow))
    assert_right(narrow, name, found)


def test_weights_are_stored_as_narrow_as_they_are(narrow):
    assert_stored_once(narrow)
