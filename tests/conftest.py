"""What tests share: no network, a small vocabulary and model, real data."""

import io
import os
import socket
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pytest
import sentencepiece

from keras_prompt.tokenizer import Tokenizer

_SENTENCES = """
the film is a delight and the cast is wonderful
a dull and tedious film that never comes alive
positive negative True False entailment contradiction neutral
choice1 choice2 not_entailment not_equivalent equivalent duplicate
passage: a dog barked at the moon question: did the dog bark at the moon
hypothesis: the man slept premise: the man was tired and went to sleep
sentence1: he runs every morning sentence2: she walks to school every day
what is a good example of prompt tuning with a frozen model
commonsense reasoning reading comprehension pronoun resolution
""".strip().splitlines()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: object) -> None:
        is_local = self.family == socket.AF_UNIX or (
            isinstance(address, tuple) and address[0] in ("127.0.0.1", "::1")
        )
        if not is_local:
            raise OSError(f"a test reached for the network: {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data sets beside the checkout, where there are any."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder shared/data beside the checkout is absent")
    return folder


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Tokenizer:
    """About 150 pieces, with T5's special ids."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_SENTENCES * 3),
        model_writer=model,
        vocab_size=150,
        model_type="unigram",
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return Tokenizer(model.getvalue())


@pytest.fixture
def model_dtype() -> str:
    """Of `tiny_model`; a module that promises more overrides it."""
    return "float32"


@pytest.fixture
def tiny_model(tiny_tokenizer: Tokenizer, model_dtype: str):
    """Two layers of random weights, a prompt of three; always the same."""
    from keras_prompt.initial_prompts import random_uniform
    from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
    from keras_prompt.models.t5.backbone import MeshT5Backbone
    from keras_prompt.models.t5.config import T5Config

    config = T5Config(
        vocab_size=tiny_tokenizer.vocabulary_size + 6,
        d_model=16,
        d_kv=4,
        d_ff=24,
        num_heads=2,
        num_encoder_layers=2,
        num_decoder_layers=1,
    )
    backbone = MeshT5Backbone(config, seed=3, preset="tiny", dtype=model_dtype)
    model = PromptTunedT5(backbone, tiny_tokenizer, prompt_length=3)
    model.initialize_prompt(random_uniform(), seed=0)
    return model


@pytest.fixture
def write_preset():
    """Writes a model's base as a folder that `--preset` takes."""
    from keras_prompt.models.checkpoints import hugging_face

    def write(model, folder: Path) -> str:
        backbone = model.backbone
        hugging_face.write(
            folder,
            backbone.config,
            lambda name: backbone.weight(name).numpy(),
            model.tokenizer.model_proto,
        )
        return str(folder)

    return write


@pytest.fixture
def preset(write_preset, tiny_model, tmp_path: Path) -> str:
    """A folder of `tiny_model`'s base."""
    return write_preset(tiny_model, tmp_path / "tiny")


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks that a test registers are forgotten after it."""
    from keras_prompt import tasks

    monkeypatch.setattr(tasks, "_registered", {})


@pytest.fixture
def keep_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quiet import would turn pytest's own streams away."""
    monkeypatch.setattr(
        "keras_prompt.cli.quiet.import_tensorflow", lambda: None
    )
