"""How a training step's time grows with the prompt, input, batch and layers.

    python benchmarks/speed/growth.py --output runs/growth

One setting moves at a time. Beside each time stands what the arithmetic says
(`step_operations`), both as multiples of the middle point's. It writes
growth.csv and, with matplotlib, growth.png.
"""

import argparse
import csv
import dataclasses
import io
import os
import statistics
import time
from pathlib import Path
from typing import Any

from arithmetic import step_operations
from speed_work import SIZES, Work

MIDDLE = "middle"
AXES: dict[str, list[int]] = {
    "prompt_length": [1, 5, 20, 50, 100, 150],
    "input_length": [64, 128, 256, 512],
    "batch_size": [1, 4, 16, 64],
    "layers": [2, 4, 8, 16, 24],
}


@dataclasses.dataclass(frozen=True)
class Point:
    """A measured setting.

    Attributes:
        axis: what moves.
        value: where it is.
        seconds: a step's, the median of some rounds.
        operations: of its matrix products.
        first_seconds: of the first step, tracing included.
    """

    axis: str
    value: int
    seconds: float
    operations: float
    first_seconds: float


def main() -> None:
    """Measures every point and prints a table an axis."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--output", type=Path, default=Path("runs/growth"))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    middle = Work(
        folder="",
        task="",
        data_dir="",
        size="small",
        prompt_length=20,
        batch_size=16,
        input_length=128,
        target_length=8,
        rows=0,
        steps=1,
        threads=os.cpu_count() or 1,
    )
    options.output.mkdir(parents=True, exist_ok=True)
    centre = _measure(MIDDLE, 0, middle, options.rounds)
    points = []
    for axis, values in AXES.items():
        print(f"{axis} | time | operations | first step")
        for value in values:
            point = _measure(axis, value, middle, options.rounds)
            points.append(point)
            print(
                f"{value} | {point.seconds / centre.seconds:.2f} | "
                f"{point.operations / centre.operations:.2f} | "
                f"{point.first_seconds / centre.seconds:.1f}",
                flush=True,
            )
        # An axis is minutes; the next may run out of memory.
        _write(options.output / "growth.csv", [centre, *points])
    print(options.output / "growth.csv")
    _draw(options.output / "growth.png", points, centre)


def _measure(axis: str, value: int, middle: Work, rounds: int) -> Point:
    size, work = dict(SIZES[middle.size]), middle
    moved: dict[str, Any] = {axis: value}
    if axis == "layers":
        size |= dict.fromkeys(
            ("num_encoder_layers", "num_decoder_layers"), value
        )
    elif axis != MIDDLE:
        work = dataclasses.replace(middle, **moved)
    steps = _steps(work, size)
    first = steps()
    steps()  # the second still fills caches
    return Point(
        axis,
        value,
        statistics.median(steps() for _ in range(rounds)),
        step_operations(work, size),
        first,
    )


def _steps(work: Work, size: dict[str, Any]) -> Any:
    """A function that runs one step and returns its seconds."""
    import numpy as np
    import tensorflow as tf

    import keras_prompt as kp
    from keras_prompt.models.checkpoints import formats
    from keras_prompt.models.fixed_sums import fixed_order_of_sums
    from keras_prompt.models.t5.presets import find_checkpoint

    vocabulary = formats.read(find_checkpoint("t5_1_1_nano_lm")).vocabulary
    backbone = kp.MeshT5Backbone(kp.T5Config(**size))
    model = kp.PromptTunedT5(
        backbone, kp.Tokenizer(vocabulary), work.prompt_length
    )
    model.initialize_prompt(kp.initial_prompts.sampled_vocab())
    model.compile(optimizer=kp.Adafactor(0.3), loss=kp.TokenCrossentropy())
    rng = np.random.default_rng(0)
    ids = rng.integers(2, 8000, (work.batch_size, work.input_length))
    targets = rng.integers(2, 8000, (work.batch_size, work.target_length))
    x = {
        "encoder_token_ids": ids.astype(np.int32),
        "encoder_padding_mask": np.ones(ids.shape, bool),
        "decoder_token_ids": targets.astype(np.int32),
    }
    weight = np.ones(targets.shape, np.float32)
    batch = tf.data.Dataset.from_tensors((x, targets.astype(np.int32), weight))
    batches = iter(batch.repeat())
    model.optimizer.build(model.trainable_variables)
    with fixed_order_of_sums():  # as in `fit`
        model.make_train_function()

    def step() -> float:
        start = time.perf_counter()
        with fixed_order_of_sums():
            float(model.train_function(batches)["loss"])
        return time.perf_counter() - start

    return step


def _write(path: Path, points: list[Point]) -> None:
    table = io.StringIO(newline="")
    columns = [field.name for field in dataclasses.fields(Point)]
    writer = csv.DictWriter(table, columns)
    writer.writeheader()
    writer.writerows(map(dataclasses.asdict, points))
    path.write_text(table.getvalue())


def _draw(path: Path, points: list[Point], centre: Point) -> None:
    try:
        import matplotlib as mpl
    except ImportError:
        print("No figure is drawn: matplotlib is not installed.")
        return
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    canvas, axes = plt.subplots(1, len(AXES), figsize=(3.6 * len(AXES), 3.2))
    for panel, axis in zip(axes, AXES, strict=True):
        mine = [point for point in points if point.axis == axis]
        values = [point.value for point in mine]
        panel.plot(
            values,
            [p.seconds / centre.seconds for p in mine],
            "o-",
            label="time",
        )
        panel.plot(
            values,
            [p.operations / centre.operations for p in mine],
            "x--",
            label="operations",
        )
        panel.set_xlabel(axis.replace("_", " "))
        panel.set_ylim(bottom=0)
    axes[0].set_ylabel("times the middle point's")
    axes[0].legend()
    canvas.tight_layout()
    canvas.savefig(path, dpi=120)
    print(path)


if __name__ == "__main__":
    main()
