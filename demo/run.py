"""`make demo`: tune, evaluate, export, reload with TensorFlow, predict."""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from keras_prompt.cli.quiet import import_tensorflow

if TYPE_CHECKING:
    from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
    from keras_prompt.tasks.task import Task

PRESET = "t5_1_1_nano_lm"
PROMPT_LENGTH = 20
SENTENCES = (
    "A young detective returns to his home town and finds that his brother",
    "A funny, warm and moving film with a wonderful cast, one of the best",
    "Dull, tedious and far too long, this is a waste of a good idea and",
)
_TENSORFLOW_ALONE = (
    "import sys, tensorflow as tf\n"
    "prompt = tf.saved_model.load(sys.argv[1])"
    ".signatures['serving_default']()['prompt']\n"
    "assert 'keras_prompt' not in sys.modules\n"
    "print(f'TensorFlow alone reads it: {prompt.dtype.name} {prompt.shape}')\n"
)


def main() -> None:
    """Runs the demo's steps in turn."""
    options = _options()
    import_tensorflow()
    from reviews import reviews_task

    from keras_prompt import tasks
    from keras_prompt.training.config import TuneConfig
    from keras_prompt.training.tune import tune

    task = tasks.register(reviews_task())
    output = Path(options.output)
    print(f"1. Tuning {PROMPT_LENGTH} vectors for {PRESET}, all else frozen.")
    result = tune(
        TuneConfig(
            task=task.name,
            preset=PRESET,
            output=str(output),
            prompt_length=PROMPT_LENGTH,
            steps=options.steps,
            evaluate_every=min(50, options.steps),
            input_length=64,
            answer_by="rank",
            evaluation_limit=500,
            seed=options.seed,
        )
    )
    print(f"   best on validation at step {result.best_step:,}.")
    _compare(task, result.folder)
    print(f"3. The artifact {result.folder}: {result.folder_bytes:,} bytes,")
    print(f"   of them {4 * PROMPT_LENGTH * 192:,} the prompt itself.")
    sys.stdout.flush()  # before the other process writes
    subprocess.run(
        [sys.executable, "-c", _TENSORFLOW_ALONE, result.folder],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    _predict(task, result.folder)
    _draw(output)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="runs/demo")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _model() -> "PromptTunedT5":
    from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5

    return PromptTunedT5.from_preset(PRESET, PROMPT_LENGTH)


def _compare(task: "Task", prompt: str) -> None:
    """The tuned prompt beside what it must beat, on held-out movies."""
    from keras_prompt.export.prompt import load_prompt
    from keras_prompt.initial_prompts import class_labels
    from keras_prompt.training.evaluation import evaluate_examples

    model = _model()
    examples = task.examples("test")
    model.initialize_prompt(class_labels(task.labels))
    before = evaluate_examples(model, task, examples, answer_by="rank")
    load_prompt(model, prompt)
    after = evaluate_examples(model, task, examples, answer_by="rank")
    print(f"2. Accuracy on {len(examples):,} texts about other movies:")
    for name, value in (
        ("majority class", before.majority["accuracy"]),
        ("untuned prompt", before.metrics["accuracy"]),
        ("tuned prompt", after.metrics["accuracy"]),
    ):
        print(f"   {name:15} {value:5.1f} %")


def _predict(task: "Task", prompt: str) -> None:
    import rich.console
    import rich.table

    from keras_prompt.export.prompt import load_prompt
    from keras_prompt.interpret import nearest_pieces

    model = _model()
    load_prompt(model, prompt)
    print("4. Three sentences:")
    scores = model.rank(
        [f"text: {text}" for text in SENTENCES], task.label_words
    )
    for text, row in zip(SENTENCES, scores, strict=True):
        print(f"   {task.labels[row.argmax()]:7} {text}")
    table = rich.table.Table("vector", "nearest vocabulary entries (cosine)")
    rows = nearest_pieces(
        model.prompt.embeddings.numpy(),
        model.backbone.embedding_table(),
        model.tokenizer,
    )
    for index, row in enumerate(rows):
        words = "  ".join(f"{piece} {cosine:.2f}" for piece, cosine in row)
        table.add_row(str(index), words)
    print("5. What the prompt's vectors lie near to:")
    rich.console.Console().print(table)


def _draw(output: Path) -> None:
    """The training curve, from the run's history."""
    import csv

    import matplotlib as mpl

    from keras_prompt.training.run_folder import HISTORY

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with (output / HISTORY).open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    figure, left = plt.subplots(figsize=(7, 4))
    left.plot(steps, [float(r["loss"]) for r in rows], "o-", color="tab:blue")
    left.set_xlabel("step")
    left.set_ylabel("training loss (nats a token)", color="tab:blue")
    right = left.twinx()
    accuracy = [float(row["val_accuracy"]) for row in rows]
    right.plot(steps, accuracy, "s-", color="tab:orange")
    right.set_ylabel("validation accuracy (%)", color="tab:orange")
    left.set_title(f"Tuning {PROMPT_LENGTH} vectors for {PRESET}")
    figure.tight_layout()
    figure.savefig(output / "curve.png", dpi=120)
    print(f"6. The curve: {output / 'curve.png'}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("demo: stopped; `make demo` goes on from here", file=sys.stderr)
        sys.exit(130)  # the shell's convention: 128 + SIGINT
    except (ValueError, OSError) as error:
        sys.exit(f"demo: error: {error}")
