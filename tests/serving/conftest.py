"""A small base, exported for serving once, and prompts for it."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_prompt.export.prompt import export_prompt
from keras_prompt.export.server import export_server
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config

LENGTHS = {"films": 3, "dogs": 5}


@dataclasses.dataclass
class Served:
    """An exported base, and a model of each prompt in its root.

    Attributes:
        base: folder of the SavedModel.
        root: folder of the prompts' folders.
        alone: a model with its one prompt, by task.
    """

    base: Path
    root: Path
    alone: dict[str, PromptTunedT5]

    def add(self, name, length, seed, backbone=None):
        """Exports another prompt into the root."""
        first = self.alone["films"]
        model = PromptTunedT5(
            backbone or first.backbone, first.tokenizer, length
        )
        width = model.backbone.config.d_model
        rng = np.random.default_rng(seed)
        model.prompt.embeddings.assign(2 * rng.normal(size=(length, width)))
        export_prompt(model, self.root / name, task=name)
        return model


@pytest.fixture(scope="package")
def served(tiny_tokenizer, tmp_path_factory):
    # Of a real server, which has to see the same files.
    shared = os.environ.get("TF_SERVING_FOLDER")
    folder = Path(shared) if shared else tmp_path_factory.mktemp("server")
    return serve(tiny_tokenizer, folder, "float32")


@pytest.fixture(scope="package", params=["int8", "bfloat16"])
def narrow(request, tiny_tokenizer, tmp_path_factory):
    """The same in fewer bits."""
    folder = tmp_path_factory.mktemp(request.param)
    return serve(tiny_tokenizer, folder, request.param)


def serve(tokenizer, folder, dtype):
    config = T5Config(tokenizer.vocabulary_size, 16, 4, 24, 2, 2, 1)
    backbone = MeshT5Backbone(config, seed=3, preset="tiny", dtype=dtype)
    served = Served(folder / "base/1", folder / "prompts", {})
    served.alone["films"] = PromptTunedT5(backbone, tokenizer, 1)
    for seed, (name, length) in enumerate(LENGTHS.items()):
        served.alone[name] = served.add(name, length, seed)
    export_server(
        backbone, served.base, served.root, input_length=24, max_length=6
    )
    return served


@pytest.fixture(scope="package")
def signatures(served):
    return tf.saved_model.load(str(served.base)).signatures


@pytest.fixture(scope="package")
def text_base(served, tmp_path_factory):
    """The same base, exported so that it takes text."""
    folder = tmp_path_factory.mktemp("text") / "base/1"
    first = served.alone["films"]
    export_server(
        first.backbone,
        folder,
        served.root,
        input_length=24,
        max_length=6,
        tokenizer=first.tokenizer,
    )
    return folder


@pytest.fixture
def preset(write_preset, served, tmp_path):
    """A folder of the served base."""
    return write_preset(served.alone["films"], tmp_path / "tiny")
