"""The recipe of pre-training and LM adaptation, top to bottom."""

import functools
import json
from pathlib import Path

import keras
import numpy as np

from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models.checkpoints import hugging_face
from keras_prompt.models.language_model import T5LanguageModel
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config
from keras_prompt.optimizers import Adafactor
from keras_prompt.tasks.pretraining import (
    pretraining_dataset,
    span_corruption_target_length,
)
from keras_prompt.tasks.text_corpus import tokenize_files
from keras_prompt.tokenizer import Tokenizer
from keras_prompt.training.pretraining.checkpoint import (
    restore_checkpoint,
    save_checkpoint,
)
from keras_prompt.training.pretraining.config import PretrainConfig
from keras_prompt.training.pretraining.progress import PretrainingLog
from keras_prompt.training.pretraining.schedule import InverseSquareRoot

_VALIDATION_BATCHES = 20


def pretrain(config: PretrainConfig) -> dict[str, float]:
    """Trains until `config.steps` and writes a folder that `from_preset` takes.

    A second call with the same settings continues from the last validation.

    Args:
        config: the run.

    Returns:
        `steps`, `tokens`, `loss` (training, last evaluation period) and
        `val_loss` (held-out documents), nats a token.

    Raises:
        FileNotFoundError: a text, the vocabulary or the base is absent.
        ValueError: a file is not what it should be, or the output folder
            holds another run.
    """
    folder = config.check_output()
    model, tokenizer = _model(config)
    model.compile(
        optimizer=_optimizer(config),
        loss=TokenCrossentropy(),
        # oneDNN's matrix products beat XLA's on processors, by half and more.
        jit_compile=False,
    )
    checkpoint = folder / "checkpoint.safetensors"
    epochs_done = restore_checkpoint(checkpoint, model)

    texts = [Path(text) for text in config.texts]
    corpus = tokenize_files(texts, tokenizer, folder / "tokens")
    make_dataset = functools.partial(
        pretraining_dataset,
        corpus,
        tokenizer=tokenizer,
        objective=config.objective,
        input_length=config.input_length,
        batch_size=config.batch_size,
        seed=config.seed,
    )
    train, validation = make_dataset("train"), make_dataset("validation")
    if next(iter(validation), None) is None:
        raise ValueError(
            "`texts` are too few: the hundredth part of the documents, which "
            f"is held out, does not fill one batch of {config.batch_size} "
            f"inputs of {config.input_length} tokens. Give more text, or "
            "smaller batches."
        )
    config.claim_output()
    steps_done = epochs_done * config.evaluate_every
    save = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: save_checkpoint(
            checkpoint, model, epoch + 1
        )
    )
    log = PretrainingLog(
        folder / "history.csv",
        _tokens_per_step(config),
        config.evaluate_every,
        steps_done,
    )
    epochs = -(-config.steps // config.evaluate_every)
    model.fit(
        train.skip(steps_done),
        steps_per_epoch=config.evaluate_every,
        initial_epoch=epochs_done,
        epochs=epochs,
        validation_data=validation.take(_VALIDATION_BATCHES).cache(),
        callbacks=[save, log],
        verbose=0,
    )
    result = {
        "steps": epochs * config.evaluate_every,
        "tokens": epochs * config.evaluate_every * _tokens_per_step(config),
        **log.last_row(),
    }
    _write_model(folder / "model", model.backbone, tokenizer, result)
    return result


def _model(config: PretrainConfig) -> tuple[T5LanguageModel, Tokenizer]:
    if config.base is not None:
        base = hugging_face.read(Path(config.base))
        tokenizer = Tokenizer.from_file(base.vocabulary)
        t5_config, weights = base.config, base.weights
    else:
        tokenizer = Tokenizer.from_file(str(config.vocabulary))
        t5_config, weights = _t5_config(config, tokenizer), None
    backbone = MeshT5Backbone(
        t5_config,
        weights=weights,
        seed=config.seed,
        dtype=config.dtype,
        trainable=True,
    )
    return T5LanguageModel(backbone), tokenizer


def _t5_config(config: PretrainConfig, tokenizer: Tokenizer) -> T5Config:
    if config.vocab_size < tokenizer.vocabulary_size:
        raise ValueError(
            "`vocab_size` must be at least the vocabulary's "
            f"{tokenizer.vocabulary_size} ids. "
            f"Received: vocab_size={config.vocab_size}"
        )
    return T5Config(
        vocab_size=config.vocab_size,
        d_model=config.d_model,
        d_kv=config.d_kv,
        d_ff=config.d_ff,
        num_heads=config.num_heads,
        num_encoder_layers=config.num_encoder_layers,
        num_decoder_layers=config.num_decoder_layers,
    )


def _optimizer(config: PretrainConfig) -> Adafactor:
    learning_rate = config.learning_rate or InverseSquareRoot(
        config.warmup_steps
    )
    return Adafactor(
        learning_rate, scale_by_parameter_size=True, weight_decay=0.0
    )


def _tokens_per_step(config: PretrainConfig) -> int:
    targets = (
        span_corruption_target_length(config.input_length)
        if config.objective == "span_corruption"
        else config.input_length
    )
    return config.batch_size * (config.input_length + targets)


def _write_model(
    folder: Path,
    backbone: MeshT5Backbone,
    tokenizer: Tokenizer,
    result: dict[str, float],
) -> None:
    hugging_face.write(
        folder,
        backbone.config,
        lambda name: np.asarray(backbone.weight(name).numpy(), np.float32),
        tokenizer.model_proto,
        dtype="bfloat16",
    )
    text = json.dumps(result, indent=2)
    (folder / "training.json").write_text(text + "\n")
