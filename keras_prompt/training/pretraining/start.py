"""What a run starts from: a base, or random weights and a vocabulary."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_prompt.atomic_files import write_file
from keras_prompt.models.checkpoints import formats
from keras_prompt.models.checkpoints.hugging_face import VOCABULARY
from keras_prompt.models.language_model import T5LanguageModel
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config
from keras_prompt.tasks.documents import DocumentSource
from keras_prompt.tasks.vocabulary import train_vocabulary
from keras_prompt.tokenizer import Tokenizer
from keras_prompt.training.pretraining.config import PretrainConfig
from keras_prompt.training.pretraining.progress import reading
from keras_prompt.types import FloatArray

_ROWS = 64  # an embedding table's rows are a multiple of these


def make_model(
    config: PretrainConfig, sources: Sequence[DocumentSource], folder: Path
) -> tuple[T5LanguageModel, Tokenizer]:
    """The model as it is before its first step, and its tokenizer.

    Args:
        config: of the run.
        sources: to train a vocabulary on, where the run does that.
        folder: of the run, which gets that vocabulary.

    Raises:
        FileNotFoundError: the vocabulary or the base is absent.
        ValueError: one is not what it should be.
    """
    if config.base is not None:
        base = formats.read(Path(config.base))
        tokenizer = Tokenizer(base.vocabulary)
        t5_config, weights = base.config, base.weights
    else:
        tokenizer = _tokenizer(config, sources, folder)
        t5_config, weights = _t5_config(config, tokenizer), None
    backbone = MeshT5Backbone(
        t5_config,
        weights=weights,
        seed=config.seed,
        dtype=config.dtype,
        trainable=True,
    )
    return T5LanguageModel(backbone, config.micro_batches), tokenizer


def start_embeddings(
    backbone: MeshT5Backbone, vectors: Mapping[int, FloatArray]
) -> None:
    """Gives tokens their vectors; others keep theirs, as the sentinels do."""
    table = np.array(backbone.embedding_table())
    for token_id, vector in vectors.items():
        table[token_id] = vector
    backbone.weight("shared/embedding").assign(table)


def _tokenizer(
    config: PretrainConfig, sources: Sequence[DocumentSource], folder: Path
) -> Tokenizer:
    """The vocabulary of a model that starts from random weights."""
    if config.train_vocabulary is None:
        return Tokenizer.from_file(str(config.vocabulary))
    path = folder / VOCABULARY
    # Without a record it may be one that other settings began with.
    if not path.is_file() or config.recorded() is None:
        with reading("training a vocabulary on") as progress:
            model_proto = train_vocabulary(
                sources, config.train_vocabulary, progress
            )
        write_file(path, model_proto)
    return Tokenizer.from_file(path)


def _t5_config(config: PretrainConfig, tokenizer: Tokenizer) -> T5Config:
    ids = tokenizer.vocabulary_size
    vocab_size = config.vocab_size or -(-ids // _ROWS) * _ROWS
    if vocab_size < ids:
        raise ValueError(
            "`vocab_size` must be at least the vocabulary's "
            f"{ids} ids. Received: vocab_size={vocab_size}"
        )
    return T5Config(
        vocab_size=vocab_size,
        d_model=config.d_model,
        d_kv=config.d_kv,
        d_ff=config.d_ff,
        num_heads=config.num_heads,
        num_encoder_layers=config.num_encoder_layers,
        num_decoder_layers=config.num_decoder_layers,
    )
