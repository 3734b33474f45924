"""The recipe of pre-training and LM adaptation, top to bottom."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_prompt.atomic_files import write_file
from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models.checkpoints import hugging_face
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.optimizers import Adafactor
from keras_prompt.strict_json import strict_json
from keras_prompt.tasks.documents import document_source
from keras_prompt.tasks.pretraining import pretraining_dataset
from keras_prompt.tasks.span_corruption import span_corruption_target_length
from keras_prompt.tasks.text_corpus import TokenCorpus, tokenize
from keras_prompt.tasks.word_vectors import word_vectors
from keras_prompt.tokenizer import Tokenizer
from keras_prompt.training.pretraining.checkpoint import (
    restore_checkpoint,
    save_checkpoint,
)
from keras_prompt.training.pretraining.config import PretrainConfig
from keras_prompt.training.pretraining.progress import PretrainingLog, reading
from keras_prompt.training.pretraining.start import (
    make_model,
    start_embeddings,
)
from keras_prompt.training.run_folder import CHECKPOINT, HISTORY, MODEL
from keras_prompt.training.run_settings import refuse_fewer_steps
from keras_prompt.training.scalars import TensorBoardScalars
from keras_prompt.training.schedule import InverseSquareRoot, LinearEnd

_VALIDATION_BATCHES = 20
_SUMMARY = "training.json"  # of the run, beside its model


def pretrain(config: PretrainConfig) -> dict[str, float]:
    """Trains until `config.steps` and writes a folder that `from_preset` takes.

    The run's folder gets run.json, spiece.model where it is trained, tokens/,
    checkpoint.safetensors, history.csv, tensorboard/ and model/. A second
    call with the same settings continues from the last validation; it reads
    past the data that was used, about a hundred steps a second.

    Args:
        config: the run.

    Returns:
        `steps`, `tokens`, `seconds`, `loss` (training, last evaluation
        period) and `val_loss` (held-out documents), nats a token.

    Raises:
        FileNotFoundError: a text, the vocabulary or the base is absent.
        ValueError: a file is not what it should be, or the output folder
            holds another run.
        KeyboardInterrupt: the run can go on from its last validation.
    """
    folder = config.check_output()
    _check_model_place(config, folder / MODEL)
    sources = [document_source(text) for text in config.texts]
    for source in sources:
        source.version()  # refuses what is absent before any work
    model, tokenizer = make_model(config, sources, folder)
    model.compile(
        optimizer=_optimizer(config),
        loss=TokenCrossentropy(),
        # oneDNN's matrix products beat XLA's on processors, by half and more.
        jit_compile=False,
    )
    checkpoint = folder / CHECKPOINT
    epochs_done = restore_checkpoint(checkpoint, model)
    steps_done = epochs_done * config.evaluate_every
    refuse_fewer_steps(folder, steps_done, config.steps)
    _check_end(config, steps_done)
    with reading("tokenizing") as progress:
        corpus = tokenize(sources, tokenizer, folder / "tokens", progress)
    train, validation = _datasets(config, corpus, tokenizer)
    if config.embeddings == "cooccurrence" and not steps_done:
        with reading("counting neighbours"):
            vectors = word_vectors(
                corpus, tokenizer.vocabulary_size, config.d_model, config.seed
            )
        start_embeddings(model.backbone, vectors)
    config.claim_output()
    log = PretrainingLog(
        folder / HISTORY,
        _tokens_per_step(config),
        config.evaluate_every,
        steps_done,
    )
    try:
        model.fit(
            train.skip(steps_done),
            steps_per_epoch=config.evaluate_every,
            initial_epoch=epochs_done,
            epochs=config.steps // config.evaluate_every,
            validation_data=validation,
            callbacks=[
                log,
                TensorBoardScalars(folder / "tensorboard"),
                # Last: what the others wrote belongs to what is saved.
                keras.callbacks.LambdaCallback(
                    on_epoch_end=lambda epoch, logs: save_checkpoint(
                        checkpoint, model, epoch + 1
                    )
                ),
            ],
            verbose=0,
        )
    finally:
        log.close()
    result = {
        "steps": config.steps,
        "tokens": config.steps * _tokens_per_step(config),
        **log.last_row(),
    }
    _write_model(folder / MODEL, model.backbone, tokenizer, result)
    return result


def _check_model_place(config: PretrainConfig, folder: Path) -> None:
    """Refuses, before any work, what the finished model would replace."""
    hugging_face.check_place(folder, _SUMMARY)
    if config.recorded() is None and folder.is_dir() and any(folder.iterdir()):
        raise ValueError(
            f"{folder} holds a model, and {folder.parent} no run that made "
            "it; it would be replaced. Choose another output folder."
        )


def _check_end(config: PretrainConfig, steps_done: int) -> None:
    """Refuses an end that would have had to begin already."""
    before, left = config.recorded(), config.steps - steps_done
    is_new = before is None or not before["decay_steps"]
    if is_new and config.decay_steps > left:
        raise ValueError(
            f"`decay_steps` must be at most the {left:,} steps that are left "
            f"of this run; it has done {steps_done:,}. "
            f"Received: decay_steps={config.decay_steps}"
        )


def _datasets(
    config: PretrainConfig, corpus: TokenCorpus, tokenizer: Tokenizer
) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    """Endless training batches, and the batches of a validation."""
    train, validation = (
        pretraining_dataset(
            corpus,
            split,
            tokenizer=tokenizer,
            objective=config.objective,
            input_length=config.input_length,
            batch_size=config.batch_size,
            seed=config.seed,
        )
        for split in ("train", "validation")
    )
    if next(iter(validation), None) is None:
        raise ValueError(
            "`texts` are too few: the hundredth part of the documents, which "
            f"is held out, does not fill one batch of {config.batch_size} "
            f"inputs of {config.input_length} tokens. Give more text, or "
            "smaller batches."
        )
    return train, validation.take(_VALIDATION_BATCHES).cache()


def _optimizer(config: PretrainConfig) -> Adafactor:
    rate = config.learning_rate or InverseSquareRoot(config.warmup_steps)
    if config.decay_steps:
        rate = LinearEnd(rate, config.steps, config.decay_steps)
    return Adafactor(
        rate,
        scale_by_parameter_size=True,
        weight_decay=0.0,
        global_clipnorm=config.clip_norm,
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
    write_file(folder / _SUMMARY, strict_json(result, indent=2) + "\n")
