"""`keras-prompt predict`."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from keras_prompt.cli.loading import add_model_arguments, load_model
from keras_prompt.cli.progress import progress_bar

if TYPE_CHECKING:
    from keras_prompt.models.text_t5 import TextT5

EXAMPLE = (
    'keras-prompt predict --prompt runs/sst2/prompt "sentence: A delight."'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    add_model_arguments(parser)
    add = parser.add_argument
    add("texts", nargs="*", help="inputs; none reads lines of standard input")
    add("--json", action="store_true", help="one JSON object a line")


def run(options: argparse.Namespace) -> None:
    """Prints one output a text, batch by batch.

    Raises:
        ValueError: there are no texts, or no label words to rank.
    """
    texts = options.texts or [line.rstrip("\n") for line in sys.stdin]
    if not texts:
        raise ValueError(
            "There is nothing to answer: give texts, or lines on standard "
            "input."
        )
    model, card = load_model(options)
    labels = card.label_words if card else ()
    if options.answer_by == "rank" and not labels:
        raise ValueError(
            "There is no prompt whose card has label words; use --answer-by "
            "generate."
        )
    size = options.batch_size
    # A bar beside the answers themselves would only disturb them.
    is_shown = len(texts) > size and not sys.stdout.isatty()
    with progress_bar("texts", len(texts), is_shown=is_shown) as advance:
        for start in range(0, len(texts), size):
            batch = texts[start : start + size]
            _print_answers(
                batch, _answer(model, labels, batch, options), options
            )
            advance(len(batch))


def _answer(
    model: "TextT5",
    labels: Sequence[str],
    texts: Sequence[str],
    options: argparse.Namespace,
) -> list[str]:
    size, length = options.batch_size, options.input_length
    if options.answer_by == "generate":
        return model.generate(
            texts, options.target_length, size, input_length=length
        )
    scores = model.rank(texts, labels, size, length)
    return [labels[best] for best in scores.argmax(axis=1)]


def _print_answers(
    texts: Sequence[str], outputs: Sequence[str], options: argparse.Namespace
) -> None:
    for text, output in zip(texts, outputs, strict=True):
        row = {"input": text, "output": output}
        print(json.dumps(row, ensure_ascii=False) if options.json else output)
    sys.stdout.flush()
