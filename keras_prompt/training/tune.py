"""The recipe of prompt tuning and of model tuning, top to bottom."""

import dataclasses
import json
from pathlib import Path

from keras_prompt import tasks
from keras_prompt.atomic_files import write_file
from keras_prompt.export.prompt import export_prompt, folder_bytes
from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models.checkpoints import hugging_face
from keras_prompt.models.plain_t5 import PlainT5
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.text_t5 import TextT5
from keras_prompt.optimizers import Adafactor
from keras_prompt.tasks.pipeline import make_dataset
from keras_prompt.tasks.task import Task
from keras_prompt.training.checkpoint import PromptCheckpoint
from keras_prompt.training.config import TuneConfig
from keras_prompt.training.evaluator import TaskEvaluator
from keras_prompt.training.history import History, ProgressBar


@dataclasses.dataclass(frozen=True)
class TuneResult:
    """What a run came to.

    Attributes:
        task: its name.
        method: "prompt" or "model", what was tuned.
        score: of the best one on the evaluation split, which chose it.
        best_step: optimizer steps behind it.
        steps: of the run.
        metrics: of the best one, whose mean is the score.
        majority: the metrics of always giving the most frequent target.
        illegal_share: of its outputs that are no label, 0 to 1.
        folder: of the best prompt, or of the best model, which `from_preset`
            takes.
        folder_bytes: of that folder.
    """

    task: str
    method: str
    score: float
    best_step: int
    steps: int
    metrics: dict[str, float]
    majority: dict[str, float]
    illegal_share: float
    folder: str
    folder_bytes: int


def tune(config: TuneConfig, *, verbose: bool = True) -> TuneResult:
    """Tunes a prompt, or a whole model, and writes the run's folder.

    The folder gets config.json, checkpoint.safetensors, history.csv,
    result.json and the best prompt in prompt/, or the best model in model/.
    The same call again continues a run that was stopped, however it was
    stopped.

    Args:
        config: the run.
        verbose: whether to print a line an evaluation and a progress bar.

    Raises:
        ValueError: a setting is wrong, or the folder holds another run.
        FileNotFoundError: the data, the model or the initial prompt is
            absent.
        KeyboardInterrupt: after saving a checkpoint.
    """
    task = tasks.get(config.task, data_dir=config.data_dir)
    model = _model(config, task)
    model.compile(optimizer=_optimizer(config), loss=TokenCrossentropy())
    train = make_dataset(
        task,
        "train",
        model.tokenizer,
        input_length=config.input_length,
        target_length=config.target_length,
        batch_size=config.batch_size,
        seed=config.seed,
        repeat=True,
    )
    evaluator = TaskEvaluator(
        task,
        config.split,
        limit=config.evaluation_limit,
        answer_by=config.answer_by,
        input_length=config.input_length,
        target_length=config.target_length,
        verbose=verbose,
    )
    folder = config.claim_output()
    checkpoint = PromptCheckpoint(folder, config.checkpoint_every)
    history = History(folder / "history.csv")
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
        raise
    finally:
        bar.close()
    return _finish(config, model, evaluator, history, folder)


def _model(config: TuneConfig, task: Task) -> TextT5:
    if config.method == "model":
        return PlainT5.from_preset(
            config.preset,
            dtype=config.dtype,
            dropout_rate=config.dropout_rate,
            trainable=True,
        )
    initial_prompt = config.make_initial_prompt(task.labels)
    model = PromptTunedT5.from_preset(
        config.preset,
        config.prompt_length,
        dtype=config.dtype,
        dropout_rate=config.dropout_rate,
    )
    model.initialize_prompt(initial_prompt, config.seed)
    return model


def _optimizer(config: TuneConfig) -> Adafactor:
    """The paper's, of either method.

    Model tuning is T5's fine-tuning: steps scaled by each weight's size, no
    weight decay. Its second moments begin at zero; the paper restored those
    of pre-training, which no published checkpoint format here holds.
    """
    if config.method == "model":
        return Adafactor(
            config.rate,
            step_offset=config.step_offset,
            scale_by_parameter_size=True,
            weight_decay=0.0,
        )
    return Adafactor(config.rate, step_offset=config.step_offset)


def _finish(
    config: TuneConfig,
    model: TextT5,
    evaluator: TaskEvaluator,
    history: History,
    folder: Path,
) -> TuneResult:
    """Exports what was best and writes down what it came to."""
    task, best = evaluator.task, model.best
    assert best is not None  # every epoch ends in an evaluation
    found = history.evaluation(best.step)
    illegal_share = found.pop("illegal_share")
    metrics = {n: found[n] for n in found if n not in ("score", "majority")}
    destination = folder / config.method
    size = _export(model, destination, task, config.seed, metrics)
    result = TuneResult(
        task=task.name,
        method=config.method,
        score=best.score,
        best_step=best.step,
        steps=int(model.optimizer.iterations.numpy()),
        metrics=metrics,
        majority=dict(task.majority(evaluator.examples[task.name]) or {}),
        illegal_share=illegal_share,
        folder=str(destination),
        folder_bytes=size,
    )
    text = json.dumps(dataclasses.asdict(result), indent=2) + "\n"
    write_file(folder / "result.json", text)
    return result


def _export(
    model: TextT5,
    folder: Path,
    task: Task,
    seed: int,
    metrics: dict[str, float],
) -> int:
    """Writes the best prompt's or the best model's folder; returns its size."""
    if isinstance(model, PlainT5):
        hugging_face.write(
            folder,
            model.backbone.config,
            model.best_weight,
            model.tokenizer.model_proto,
        )
        return folder_bytes(folder)
    assert isinstance(model, PromptTunedT5)
    best = model.best
    assert best is not None
    return export_prompt(
        model,
        folder,
        prompt=best.prompt,
        task=task.name,
        label_words=task.label_words,
        steps=best.step,
        seed=seed,
        score=best.score,
        metrics=metrics,
    )
