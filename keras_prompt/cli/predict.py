"""`keras-prompt predict`."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence

from keras_prompt.cli.arguments import positive_number
from keras_prompt.cli.loading import (
    DTYPE,
    INPUT_LENGTH,
    add_model_arguments,
    load_model,
    prepare,
    target_length,
)
from keras_prompt.cli.progress import progress_bar

_TIMEOUT = 30.0  # seconds
_MODEL = "base"  # as `serve-config` names it

Answers = Callable[[Sequence[str]], list[str]]

EXAMPLE = (
    'keras-prompt predict --prompt runs/sst2/prompt "sentence: A delight."'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    add_model_arguments(parser, takes_server=True)
    # None tells what was not given, and so cannot be in vain.
    parser.set_defaults(dtype=None, input_length=None)
    add = parser.add_argument
    add("--task", help="with --server: the prompt's folder on the server")
    add("--model", help=f"with --server: the model's name there ({_MODEL})")
    add(
        "--label",
        action="append",
        dest="labels",
        metavar="WORD",
        help="with --answer-by rank: a word to rank; repeatable (the prompt's "
        "own label words)",
    )
    add(
        "--timeout",
        type=positive_number,
        help=f"with --server: seconds for a request ({_TIMEOUT:g})",
    )
    add("texts", nargs="*", help="inputs; none reads lines of standard input")
    add("--json", action="store_true", help="one JSON object a line")


def run(options: argparse.Namespace) -> None:
    """Prints one output a text, batch by batch.

    Raises:
        ValueError: there are no texts, or no label words to rank, or an
            option that would change nothing.
    """
    if options.answer_by != "rank" and options.labels:
        raise ValueError("--label goes with --answer-by rank only.")
    most = target_length(options)
    if options.server is None:
        answer = _local_answers(options, most)
    else:
        answer = _server_answers(options)
    # Whoever types them learns first of what is wrong with the rest.
    texts = options.texts or [line.rstrip("\n") for line in sys.stdin]
    if not texts:
        raise ValueError(
            "There is nothing to answer: give texts, or lines on standard "
            "input."
        )
    size = options.batch_size
    # A bar beside the answers themselves would only disturb them.
    is_shown = len(texts) > size and not sys.stdout.isatty()
    with progress_bar("texts", len(texts), is_shown=is_shown) as advance:
        for start in range(0, len(texts), size):
            batch = texts[start : start + size]
            _print_answers(batch, answer(batch), options)
            advance(len(batch))


def _local_answers(options: argparse.Namespace, most: int) -> Answers:
    for option in ("task", "model", "timeout"):
        if getattr(options, option) is not None:
            raise ValueError(f"--{option} goes with --server only.")
    from keras_prompt.tasks.task import SENTINEL_SUFFIX, without_sentinel

    options.dtype = options.dtype or DTYPE
    model, card = load_model(options)
    labels = options.labels or (card.label_words if card else ())
    if options.answer_by == "rank" and not labels:
        raise ValueError(
            "There is no prompt whose card has label words; give --label, or "
            "use --answer-by generate."
        )
    size = options.batch_size
    length = options.input_length or INPUT_LENGTH

    def answer(texts: Sequence[str]) -> list[str]:
        if options.answer_by == "generate":
            return model.generate(texts, most, size, input_length=length)
        scores = model.rank(texts, labels, size, length)
        return [labels[best] for best in scores.argmax(axis=1)]

    if card is None or not (card.task or "").endswith(SENTINEL_SUFFIX):
        return answer
    return lambda texts: list(map(without_sentinel, answer(texts)))


def _server_answers(options: argparse.Namespace) -> Answers:
    if options.task is None:
        raise ValueError("--server needs --task: a request names its task.")
    for option in ("dtype", "target-length"):
        if getattr(options, option.replace("-", "_")) is not None:
            raise ValueError(
                f"--server takes no --{option}: the export has its own."
            )
    if options.input_length is not None and options.preset is None:
        raise ValueError(
            "--server takes --input-length only with --preset: without one "
            "it is sent text, which it does not cut."
        )
    labels = options.labels
    if options.answer_by == "rank" and not labels:
        raise ValueError("--server with --answer-by rank needs --label.")
    prepare(options)
    from keras_prompt.models.checkpoints import formats
    from keras_prompt.models.t5.presets import find_checkpoint
    from keras_prompt.serving import Client
    from keras_prompt.tokenizer import Tokenizer

    tokenizer = None
    if options.preset is not None:
        checkpoint = formats.read(find_checkpoint(options.preset))
        tokenizer = Tokenizer(checkpoint.vocabulary)
    client = Client(
        options.server,
        tokenizer,
        model=options.model or _MODEL,
        timeout=options.timeout or _TIMEOUT,
        input_length=options.input_length or INPUT_LENGTH,
    )

    def answer(texts: Sequence[str]) -> list[str]:
        if options.answer_by == "generate":
            return client.generate(texts, options.task)
        scores = client.rank(texts, options.task, labels)
        return [labels[best] for best in scores.argmax(axis=1)]

    return answer


def _print_answers(
    texts: Sequence[str], outputs: Sequence[str], options: argparse.Namespace
) -> None:
    for text, output in zip(texts, outputs, strict=True):
        row = {"input": text, "output": output}
        print(json.dumps(row, ensure_ascii=False) if options.json else output)
    sys.stdout.flush()
