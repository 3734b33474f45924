"""`keras-prompt predict`."""

import argparse
import json
import sys

from keras_prompt.cli.loading import add_model_arguments, load_model

EXAMPLE = (
    'keras-prompt predict --prompt runs/sst2/prompt "sentence: A delight."'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    add_model_arguments(parser)
    add = parser.add_argument
    add("texts", nargs="*", help="inputs; none reads lines of standard input")
    add(
        "--method",
        choices=["generate", "rank"],
        default="generate",
        help="rank chooses among the prompt's label words",
    )
    add("--json", action="store_true", help="one JSON object a line")


def run(options: argparse.Namespace) -> None:
    """Prints one output a text."""
    texts = options.texts or [line.strip() for line in sys.stdin]
    model, card = load_model(options)
    size, length = options.batch_size, options.input_length
    if options.method == "generate":
        outputs = model.generate(
            texts, options.target_length, size, input_length=length
        )
    elif card.label_words:
        scores = model.rank(texts, card.label_words, size, length)
        outputs = [card.label_words[best] for best in scores.argmax(axis=1)]
    else:
        raise ValueError(
            "The prompt's card has no label words; use --method generate."
        )
    for text, output in zip(texts, outputs, strict=True):
        row = {"input": text, "output": output}
        print(json.dumps(row, ensure_ascii=False) if options.json else output)
