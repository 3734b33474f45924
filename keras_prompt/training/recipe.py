"""What tuning a prompt, a bank of prompts and a whole model have in common."""

from typing import Any

import tensorflow as tf

from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models.prompted_t5 import PromptedT5
from keras_prompt.optimizers import Adafactor
from keras_prompt.training.checkpoint import PromptCheckpoint
from keras_prompt.training.config import TuneConfig
from keras_prompt.training.evaluator import Evaluator
from keras_prompt.training.history import History, ProgressBar
from keras_prompt.training.run_folder import HISTORY
from keras_prompt.training.schedule import LinearEnd


def data_options(config: TuneConfig) -> dict[str, Any]:
    """Of `make_dataset` and `make_mixture_dataset`."""
    return {
        "input_length": config.input_length,
        "target_length": config.target_length,
        "batch_size": config.batch_size,
        "seed": config.seed,
        "repeat": True,
    }


def evaluation_options(config: TuneConfig) -> dict[str, Any]:
    """Of an `Evaluator`."""
    return {
        "split": config.split,
        "limit": config.evaluation_limit,
        "answer_by": config.answer_by,
        "input_length": config.input_length,
        "target_length": config.target_length,
    }


def compile_model(config: TuneConfig, model: PromptedT5) -> None:
    """Gives a model the paper's optimizer, of either method, and loss.

    Model tuning is T5's fine-tuning: steps scaled by each weight's size, no
    weight decay. Its second moments begin at zero; the paper restored those
    of pre-training, which no published checkpoint format here holds.
    Attention kernels, (d_model, heads, d_kv) here and one matrix in T5X and
    Mesh TensorFlow, have too small a second axis to be factored, so their
    moments are kept whole, and their steps are not quite T5X's.
    """
    options: dict[str, Any] = {}
    if config.method == "model":
        options = {"scale_by_parameter_size": True, "weight_decay": 0.0}
    rate = config.rate
    if config.decay_steps:
        rate = LinearEnd(rate, config.steps, config.decay_steps)
    optimizer = Adafactor(rate, step_offset=config.step_offset, **options)
    model.compile(optimizer=optimizer, loss=TokenCrossentropy())


def fit(
    config: TuneConfig,
    model: PromptedT5,
    train: tf.data.Dataset,
    evaluator: Evaluator,
    *,
    verbose: bool,
) -> History:
    """Takes the run's folder, and its steps, or what is left of them.

    Raises:
        ValueError: the folder holds another run.
        KeyboardInterrupt: after saving a checkpoint.
    """
    folder = config.claim_output()
    checkpoint = PromptCheckpoint(folder, config.checkpoint_every)
    history = History(folder / HISTORY)
    bar = ProgressBar(config.steps)
    callbacks = [evaluator, history, checkpoint, *([bar] if verbose else [])]
    epochs, rest = divmod(config.steps, config.evaluate_every)
    try:
        model.fit(
            train,
            epochs=epochs + bool(rest),
            steps_per_epoch=min(config.evaluate_every, config.steps),
            callbacks=callbacks,
            verbose=0,
        )
    except KeyboardInterrupt:
        checkpoint.save_now()
        if not checkpoint.path.is_file():
            raise
        raise KeyboardInterrupt(
            "stopped and saved; the same command goes on from here"
        ) from None
    finally:
        bar.close()
    return history
