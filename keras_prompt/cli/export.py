"""`keras-prompt export`."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from keras_prompt.registry import lookup

if TYPE_CHECKING:
    from keras_prompt.prompt_files import PromptCard
    from keras_prompt.types import FloatArray

EXAMPLE = "keras-prompt export runs/rte prompts/rte"


class _Source(NamedTuple):
    """A prompt, float32 (P, D), and what is known of it."""

    prompt: "FloatArray"
    card: "PromptCard | None"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    add = parser.add_argument
    add(
        "source",
        help="output folder of `keras-prompt tune`; or a prompt: an exported "
        "one, a .npy file, a PEFT adapter's folder, a T5X checkpoint",
    )
    add("destination", help="folder to make, or file that ends in .npy")
    add(
        "--format",
        help="such as peft, an adapter's folder (saved_model; npy for a name "
        "in .npy)",
    )
    add(
        "--last",
        action="store_true",
        help="the run's present prompt instead of the best one",
    )
    add(
        "--preset",
        help="for another tool's prompt: the model it was tuned on, name or "
        "folder",
    )
    add(
        "--task",
        help="for a run of several tasks: whose prompt; for another tool's "
        "prompt: its task's name",
    )


def run(options: argparse.Namespace) -> None:
    """Exports a run's prompt, or writes a prompt in another format.

    Raises:
        FileNotFoundError: there is no run and no prompt.
        ValueError: a run has no checkpoint yet or tuned a whole model, a
            file is damaged, or an option does not go with the others.
        OSError: the destination cannot be written.
    """
    source = Path(options.source)
    if not source.exists():
        raise FileNotFoundError(f"No run and no prompt at {source}.")
    kind = options.format or (
        "npy" if options.destination.endswith(".npy") else "saved_model"
    )
    is_run = (source / "config.json").is_file()
    if options.last and not is_run:
        raise ValueError(f"--last is for a run; {source} is none.")
    from keras_prompt.cli.quiet import import_tensorflow

    import_tensorflow()
    from keras_prompt.prompt_formats import formats

    writer = lookup("format to write", kind, formats.WRITERS)
    destination = Path(options.destination)
    writer.check_place(destination)
    if is_run:
        found = _of_run(options)
    else:
        prompt, _, card = formats.read(source)
        found = _Source(prompt, card)
        if card is not None and (options.preset or options.task):
            raise ValueError(
                "--preset and --task are for a prompt without a card; "
                f"{source} was tuned on {card.base} for {card.task}."
            )
    size = writer.write(
        destination,
        found.prompt,
        lambda: found.card or _new_card(found.prompt, options),
    )
    print(f"{options.destination} · {size:,} bytes")


def _of_run(options: argparse.Namespace) -> _Source:
    """The prompt of a run's checkpoint, finished or not."""
    from keras_prompt.export.prompt import make_card
    from keras_prompt.layers.prompt_bank import PromptBank
    from keras_prompt.models.prompt_bank_t5 import PromptBankT5
    from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
    from keras_prompt.training.checkpoint import PromptCheckpoint
    from keras_prompt.training.config import TuneConfig
    from keras_prompt.training.recipe import compile_model

    config = TuneConfig.of_run(options.source)
    if config.method == "model":
        raise ValueError(
            f"{options.source} tuned a whole model, not a prompt; a finished "
            f"run has it in {options.source}/model."
        )
    task = _task_of_run(options, config.task)
    model: PromptBankT5 | PromptTunedT5
    if isinstance(config.task, str):
        model = PromptTunedT5.from_preset(
            config.preset,
            config.prompt_length,
            dropout_rate=config.dropout_rate,
        )
    else:
        bank = PromptBank(dict.fromkeys(config.task, config.prompt_length))
        model = PromptBankT5.from_preset(
            config.preset, bank, dropout_rate=config.dropout_rate
        )
    compile_model(config, model)
    model.optimizer.build(model.trainable_variables)
    steps = PromptCheckpoint(options.source).restore(model)
    if not steps:
        raise ValueError(f"{options.source} has no checkpoint yet.")
    name = model.prompt_name(task)
    best = None if options.last else model.best_prompts.get(name)
    prompt = best.prompt if best else model.prompt_weights[name].numpy()
    card = make_card(
        model,
        prompt,
        steps=best.step if best else steps,
        seed=config.seed,
        score=best.score if best else None,
        **_about_task(task),
    )
    return _Source(prompt, card)


def _task_of_run(
    options: argparse.Namespace, tasks: str | Sequence[str]
) -> str:
    """The one whose prompt is exported."""
    if options.preset is not None:
        raise ValueError("--preset is for another tool's prompt, not a run.")
    if isinstance(tasks, str):
        tasks = [tasks]
    elif options.task is None:
        raise ValueError(
            f"{options.source} has prompts of several tasks; choose one with "
            f"--task: {', '.join(tasks)}."
        )
    task = options.task or tasks[0]
    return lookup("task", task, {name: name for name in tasks})


def _new_card(
    prompt: "FloatArray", options: argparse.Namespace
) -> "PromptCard":
    """A card for another tool's prompt, which says nothing of itself."""
    if options.preset is None:
        raise ValueError(
            f"{options.source} does not say which model it was tuned on; "
            "name it with --preset."
        )
    from keras_prompt import tasks
    from keras_prompt.export.prompt import make_card
    from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5

    if options.task is not None:
        tasks.get(options.task)
    model = PromptTunedT5.from_preset(options.preset, len(prompt))
    d_model = model.backbone.config.d_model
    if prompt.shape[1] != d_model:
        raise ValueError(
            f"{options.source} has d_model {prompt.shape[1]}; "
            f"{options.preset} has d_model {d_model}."
        )
    return make_card(model, prompt, **_about_task(options.task))


def _about_task(name: str | None) -> dict[str, Any]:
    """A task's name and label words, for a card."""
    from keras_prompt import tasks

    if name is None:
        return {}
    try:
        words = tasks.get(name).label_words
    except ValueError:
        # A program registered it; its prompt is the same.
        words = ()
    return {"task": name, "label_words": words}
