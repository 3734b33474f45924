"""A model as a new process would begin with it."""

import pytest

from keras_prompt.initial_prompts import random_uniform
from keras_prompt.losses import TokenCrossentropy
from keras_prompt.optimizers import Adafactor


@pytest.fixture
def start(tiny_model):
    """Gives the model a prompt and an optimizer as a new process would."""

    def start(optimizer=None, **options):
        tiny_model.initialize_prompt(random_uniform(), seed=0)
        tiny_model.compile(
            optimizer or Adafactor(0.3), TokenCrossentropy(), **options
        )
        return tiny_model

    return start
