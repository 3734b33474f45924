"""`keras-prompt export`."""

import argparse

EXAMPLE = "keras-prompt export runs/rte prompts/rte"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    add = parser.add_argument
    add("run_folder", help="output folder of `keras-prompt tune`")
    add("destination", help="folder to make")
    add(
        "--last",
        action="store_true",
        help="the checkpoint's present prompt instead of the best one",
    )


def run(options: argparse.Namespace) -> None:
    """Exports from the run's checkpoint, finished or not.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: the run has no checkpoint yet, or a damaged one.
        OSError: the destination cannot be written.
    """
    from keras_prompt.cli.quiet import import_tensorflow

    import_tensorflow()
    from keras_prompt import tasks
    from keras_prompt.export.prompt import export_prompt
    from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
    from keras_prompt.optimizers import Adafactor
    from keras_prompt.training.checkpoint import PromptCheckpoint
    from keras_prompt.training.config import TuneConfig

    config = TuneConfig.of_run(options.run_folder)
    model = PromptTunedT5.from_preset(config.preset, config.prompt_length)
    model.compile(optimizer=Adafactor(config.learning_rate))
    model.optimizer.build(model.trainable_variables)
    steps = PromptCheckpoint(options.run_folder).restore(model)
    if not steps:
        raise ValueError(f"{options.run_folder} has no checkpoint yet.")
    best = None if options.last else model.best
    # A task that a program registered is not known here; its prompt is the
    # same.
    is_known = config.task in tasks.names()
    task = tasks.get(config.task) if is_known else None
    size = export_prompt(
        model,
        options.destination,
        prompt=best.prompt if best else None,
        task=config.task,
        label_words=task.labels if task and task.closed else (),
        steps=best.step if best else steps,
        seed=config.seed,
        score=best.score if best else None,
    )
    print(f"{options.destination} · {size:,} bytes")
