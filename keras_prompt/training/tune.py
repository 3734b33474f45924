"""The recipe of prompt tuning and of model tuning, top to bottom."""

from pathlib import Path

from keras_prompt import tasks
from keras_prompt.models.plain_t5 import PlainT5
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.text_t5 import TextT5
from keras_prompt.tasks.pipeline import make_dataset
from keras_prompt.tasks.task import Task
from keras_prompt.training.config import TuneConfig
from keras_prompt.training.evaluator import TaskEvaluator
from keras_prompt.training.recipe import (
    compile_model,
    data_options,
    evaluation_options,
    fit,
)
from keras_prompt.training.run_folder import MODEL, PROMPT
from keras_prompt.training.tune_result import (
    TuneResult,
    check_destinations,
    finish_task,
    write_result,
)


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
        ValueError: a setting is wrong, or the folder holds another run, or
            something else where the prompt or the model has to go.
        FileNotFoundError: the data, the model or the initial prompt is
            absent.
        KeyboardInterrupt: after saving a checkpoint.
    """
    if not isinstance(config.task, str):
        raise ValueError(
            "`task` must be one task's name; `tune_bank` takes several. "
            f"Received: task={config.task!r}"
        )
    folder = Path(config.output)
    outcome = folder / (PROMPT if config.method == "prompt" else MODEL)
    check_destinations(config, [outcome])
    task = tasks.get(config.task, data_dir=config.data_dir)
    model = _model(config, task)
    compile_model(config, model)
    train = make_dataset(task, "train", model.tokenizer, **data_options(config))
    evaluator = TaskEvaluator(
        task, verbose=verbose, **evaluation_options(config)
    )
    history = fit(config, model, train, evaluator, verbose=verbose)
    best = model.best
    assert best is not None  # every epoch ends in an evaluation
    result = finish_task(
        model,
        outcome,
        task,
        evaluator.examples[task.name],
        history.evaluation(best.step),
        config.seed,
    )
    write_result(folder, result)
    return result


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
