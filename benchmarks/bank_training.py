"""What training eight prompts in one fit gains against eight runs.

Steps of one bank and of one model a task, on the same rows, turn by turn in
one process; prints ratios, in processor time, which other processes on the
machine disturb less. Run it as

    python benchmarks/bank_training.py --data-dir DIR

where DIR holds the eight SuperGLUE tasks of TensorFlow Datasets, as
`keras-prompt tasks prepare` makes them.
"""

import argparse
import logging
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_prompt import tasks
from keras_prompt.initial_prompts import sampled_vocab
from keras_prompt.layers.prompt_bank import PromptBank
from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models.fixed_sums import fixed_order_of_sums
from keras_prompt.models.pretrained import load_base
from keras_prompt.models.prompt_bank_t5 import PromptBankT5
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.prompted_t5 import PromptedT5
from keras_prompt.optimizers import Adafactor
from keras_prompt.tasks.mixture import make_mixture_dataset
from keras_prompt.tasks.pipeline import make_dataset

TASKS = ("boolq", "cb", "copa", "multirc", "record", "rte", "wic", "wsc")


def main() -> None:
    """Prints one line for each batch size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--preset", default="t5_1_1_nano_lm")
    parser.add_argument("--prompt-length", type=int, default=20)
    parser.add_argument("--input-length", type=int, default=256)
    parser.add_argument(
        "--batch-sizes", type=int, nargs="+", default=[1, 4, 16]
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="a round")
    options = parser.parse_args()
    logging.getLogger("keras_prompt").setLevel(logging.ERROR)
    chosen = [
        tasks.get(f"super_glue/{name}", data_dir=options.data_dir)
        for name in TASKS
    ]
    for task in chosen:
        print(f"{task.name}: {len(task.examples('train')):,} rows")
    for batch_size in options.batch_sizes:
        _compare(chosen, batch_size, options)


def _compare(
    chosen: Sequence[tasks.Task], batch_size: int, options: argparse.Namespace
) -> None:
    backbone, tokenizer = load_base(options.preset)
    length = options.prompt_length
    settings: dict[str, Any] = {
        "input_length": options.input_length,
        "target_length": 64,
        "batch_size": batch_size,
        "repeat": True,
    }
    bank = PromptBankT5(
        backbone, tokenizer, PromptBank({task.name: length for task in chosen})
    )
    singles = []
    for task in chosen:
        model = PromptTunedT5(backbone, tokenizer, length)
        model.initialize_prompt(sampled_vocab())
        bank.bank.prompts[task.name].assign(model.prompt.embeddings)
        rows = make_dataset(task, "train", tokenizer, **settings)
        singles.append((_compiled(model), iter(rows)))
    rows = make_mixture_dataset(chosen, "train", tokenizer, **settings)
    together = (_compiled(bank), iter(rows))
    first_alone = sum(_seconds(*single, steps=1) for single in singles)
    first_together = _seconds(*together, steps=1)
    for single in (*singles, together):
        _seconds(*single, steps=9)
    differences = [
        np.abs(model.prompt.embeddings - bank.bank.prompts[task.name]).max()
        for task, (model, _) in zip(chosen, singles, strict=True)
    ]
    ratios = []
    for _ in range(options.rounds):
        alone = sum(_seconds(*single, options.steps) for single in singles)
        ratios.append(alone / _seconds(*together, options.steps))
    print(
        f"{batch_size} rows a task: a step of the bank against one step of "
        f"each of {len(chosen)} models: {statistics.median(ratios):.2f} times "
        f"as fast (of {options.rounds} rounds {min(ratios):.2f} to "
        f"{max(ratios):.2f}); first step with tracing "
        f"{first_alone / first_together:.2f} times; prompts after 10 steps "
        f"differ by at most {max(differences):.1e}"
    )


def _compiled(model: PromptedT5) -> PromptedT5:
    model.compile(optimizer=Adafactor(0.3), loss=TokenCrossentropy())
    model.optimizer.build(model.trainable_variables)
    with fixed_order_of_sums():
        model.make_train_function()
    return model


def _seconds(model: PromptedT5, rows: Iterator[Any], steps: int) -> float:
    start = time.process_time()
    with fixed_order_of_sums():  # as in `fit`
        for _ in range(steps):
            model.train_function(rows)
    return time.process_time() - start


if __name__ == "__main__":
    main()
