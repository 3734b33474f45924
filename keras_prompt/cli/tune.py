"""`keras-prompt tune`."""

import argparse
import dataclasses
import json

EXAMPLE = (
    "keras-prompt tune super_glue/rte --preset t5_1_1_nano_lm "
    "--output runs/rte --steps 500 --evaluate-every 100"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own options; defaults are the paper's."""
    add = parser.add_argument
    add("task", help="a task's name; `keras-prompt tasks` lists them")
    add("--preset", required=True, help="model name or checkpoint folder")
    add("--output", required=True, help="folder of the run")
    add("--prompt-length", type=int, help="vectors in the prompt (100)")
    add(
        "--initial-prompt",
        help="class_labels (default), sampled_vocab, random_uniform, or a path",
    )
    add("--steps", type=int, help="optimizer steps (30000)")
    add("--evaluate-every", type=int, help="steps (1000)")
    add("--checkpoint-every", type=int, help="steps (100)")
    add("--batch-size", type=int, help="rows a step (32)")
    add("--learning-rate", type=float, help="constant (0.3)")
    add("--step-offset", type=int, help="of Adafactor's step (0)")
    add("--input-length", type=int, help="tokens; longer is cut (512)")
    add("--target-length", type=int, help="tokens; longer is refused (16)")
    add("--dropout-rate", type=float, help="while training (0)")
    add("--method", choices=["generate", "rank"], help="of evaluation")
    add("--evaluation-limit", type=int, help="rows to evaluate on (all)")
    add("--split", help="to evaluate on (validation)")
    add("--dtype", help="float32, bfloat16 or mixed_bfloat16")
    add("--seed", type=int, help="of initial prompt and data order (0)")
    add("--data-dir", help="of TensorFlow Datasets")
    add("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> None:
    """Tunes, and says what came of it."""
    from keras_prompt.cli.quiet import import_tensorflow

    import_tensorflow()
    from keras_prompt.training.config import TuneConfig
    from keras_prompt.training.tune import tune

    names = {field.name for field in dataclasses.fields(TuneConfig)}
    given = {
        name: value
        for name, value in vars(options).items()
        if name in names and value is not None
    }
    config = TuneConfig(**given)
    try:
        result = tune(config, verbose=not options.json)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "stopped and saved; the same command goes on from here"
        ) from None
    if options.json:
        print(json.dumps(dataclasses.asdict(result)))
        return
    majority = "/".join(f"{v:.1f}" for v in result.majority.values()) or "none"
    print(
        f"{result.task}: score {result.score:.1f} at step "
        f"{result.best_step:,} (majority {majority}; the split that chose "
        f"the prompt) · {result.prompt} · {result.prompt_bytes:,} bytes"
    )
