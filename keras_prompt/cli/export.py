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
    """Exports from the run's checkpoint, finished or not."""
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
    task = tasks.get(config.task)
    size = export_prompt(
        model,
        options.destination,
        prompt=best.prompt if best else None,
        task=config.task,
        label_words=task.labels if task.closed else (),
        steps=best.step if best else steps,
        seed=config.seed,
        score=best.score if best else None,
    )
    print(f"{options.destination} · {size:,} bytes")
