"""`keras-prompt export`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from keras_prompt.training.run_settings import TUNING

if TYPE_CHECKING:
    from keras_prompt.prompt_files import PromptCard
    from keras_prompt.types import FloatArray

EXAMPLE = "keras-prompt export runs/rte prompts/rte"
# Those of `prompt_formats.formats.WRITERS`, which needs TensorFlow.
FORMATS = ("saved_model", "npy", "peft")


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
        choices=FORMATS,
        help="saved_model (default), npy (default for a name in .npy), or "
        "peft, an adapter's folder",
    )
    add(
        "--last",
        action="store_true",
        help="the run's present prompt instead of the best one",
    )
    add(
        "--preset",
        help="the model that another tool's prompt was tuned on, name or "
        "folder; for a run, where its model is now",
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
    is_run = (source / TUNING).is_file()
    if options.last and not is_run:
        raise ValueError(f"--last is for a run; {source} is none.")
    from keras_prompt.cli.quiet import import_tensorflow

    import_tensorflow()
    from keras_prompt.prompt_formats import formats
    from keras_prompt.training.run_prompt import read_run_prompt

    writer = formats.WRITERS[kind]
    destination = Path(options.destination)
    writer.check_place(destination)
    card: PromptCard | None
    if is_run:
        prompt, card = read_run_prompt(
            source, options.task, last=options.last, preset=options.preset
        )
    else:
        prompt, _, card = formats.read(source)
        if card is not None and (options.preset or options.task):
            raise ValueError(
                "--preset and --task are for a prompt without a card; "
                f"{source} was tuned on {card.base} for {card.task}."
            )
    if card is None and kind != "saved_model":
        for name in ("preset", "task"):
            if getattr(options, name) is not None:
                raise ValueError(
                    f"--{name} is for the card of a prompt's folder; --format "
                    f"{kind} has none."
                )
    size = writer.write(
        destination, prompt, lambda: card or _new_card(prompt, options)
    )
    print(f"{options.destination} · {size:,} bytes")


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

    task = None if options.task is None else tasks.get(options.task)
    model = PromptTunedT5.from_preset(options.preset, len(prompt))
    d_model = model.backbone.config.d_model
    if prompt.shape[1] != d_model:
        raise ValueError(
            f"{options.source} has d_model {prompt.shape[1]}; "
            f"{options.preset} has d_model {d_model}."
        )
    words = task.label_words if task else ()
    return make_card(model, prompt, task=options.task, label_words=words)
