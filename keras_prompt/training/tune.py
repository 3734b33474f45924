"""The recipe of prompt tuning, top to bottom."""

import dataclasses
import json
from pathlib import Path

from keras_prompt import tasks
from keras_prompt.atomic_files import write_file
from keras_prompt.export.prompt import export_prompt
from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.prompted_t5 import BestPrompt
from keras_prompt.optimizers import Adafactor
from keras_prompt.tasks.pipeline import make_dataset
from keras_prompt.training.checkpoint import PromptCheckpoint
from keras_prompt.training.config import TuneConfig
from keras_prompt.training.evaluator import TaskEvaluator
from keras_prompt.training.history import History, ProgressBar


@dataclasses.dataclass(frozen=True)
class TuneResult:
    """What a run came to.

    Attributes:
        task: its name.
        score: of the best prompt on the evaluation split, which chose it.
        best_step: optimizer steps behind that prompt.
        steps: of the run.
        metrics: of the best prompt, whose mean is the score.
        majority: the metrics of always giving the most frequent target.
        illegal_share: of the best prompt's outputs that are no label, 0 to 1.
        prompt: folder of the best prompt.
        prompt_bytes: of that folder.
    """

    task: str
    score: float
    best_step: int
    steps: int
    metrics: dict[str, float]
    majority: dict[str, float]
    illegal_share: float
    prompt: str
    prompt_bytes: int


def tune(config: TuneConfig, *, verbose: bool = True) -> TuneResult:
    """Tunes a prompt and writes the run's folder.

    The folder gets config.json, checkpoint.safetensors, history.csv,
    result.json and the best prompt in prompt/. The same call again continues
    a run that was stopped, however it was stopped.

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
    initial_prompt = config.make_initial_prompt(task.labels)
    model = PromptTunedT5.from_preset(
        config.preset,
        config.prompt_length,
        dtype=config.dtype,
        dropout_rate=config.dropout_rate,
    )
    model.initialize_prompt(initial_prompt, config.seed)
    model.compile(
        optimizer=Adafactor(
            config.learning_rate, step_offset=config.step_offset
        ),
        loss=TokenCrossentropy(),
    )
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


def _finish(
    config: TuneConfig,
    model: PromptTunedT5,
    evaluator: TaskEvaluator,
    history: History,
    folder: Path,
) -> TuneResult:
    """Exports the best prompt and writes down what it came to."""
    task, best = evaluator.task, model.best
    assert isinstance(best, BestPrompt)  # every epoch ends in an evaluation
    found = history.evaluation(best.step)
    illegal_share = found.pop("illegal_share")
    metrics = {n: found[n] for n in found if n not in ("score", "majority")}
    size = export_prompt(
        model,
        folder / "prompt",
        prompt=best.prompt,
        task=task.name,
        label_words=task.label_words,
        steps=best.step,
        seed=config.seed,
        score=best.score,
        metrics=metrics,
    )
    result = TuneResult(
        task=task.name,
        score=best.score,
        best_step=best.step,
        steps=int(model.optimizer.iterations.numpy()),
        metrics=metrics,
        majority=dict(task.majority(evaluator.examples) or {}),
        illegal_share=illegal_share,
        prompt=str(folder / "prompt"),
        prompt_bytes=size,
    )
    text = json.dumps(dataclasses.asdict(result), indent=2) + "\n"
    write_file(folder / "result.json", text)
    return result
