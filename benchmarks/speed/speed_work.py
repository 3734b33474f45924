"""The work that every contender is given: a model's folder and rows of text.

Letters: N rows, L labels of the task.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

# T5 1.1 small (Raffel et al. 2020, checkpoint list): 77 M parameters.
SIZES: dict[str, dict[str, Any]] = {
    "small": {
        "d_model": 512,
        "d_kv": 64,
        "d_ff": 1024,
        "num_heads": 6,
        "num_encoder_layers": 8,
        "num_decoder_layers": 8,
        "vocab_size": 32128,
    },
    "nano": {
        "d_model": 192,
        "d_kv": 64,
        "d_ff": 512,
        "num_heads": 3,
        "num_encoder_layers": 4,
        "num_decoder_layers": 4,
        "vocab_size": 32128,
    },
}


@dataclasses.dataclass(frozen=True)
class Work:
    """What is to be run, alike for all.

    Attributes:
        folder: of the model, as `transformers` reads it, and of rows.json.
        task: a registered task's name, whose rows they are.
        data_dir: where TensorFlow Datasets keeps it.
        size: a key of SIZES.
        prompt_length: P.
        batch_size: rows a step.
        input_length: longer inputs are cut; steps of equal shapes have it.
        target_length: of steps of equal shapes; the most tokens written.
        rows: N, in scoring and generating, of the task's validation rows,
            which are all an epoch.
        steps: of training on equal shapes in a round.
        threads: of each contender.
        jit_compile: whether XLA compiles Keras' training steps whole.
    """

    folder: str
    task: str
    data_dir: str
    size: str
    prompt_length: int
    batch_size: int
    input_length: int
    target_length: int
    rows: int
    steps: int
    threads: int
    jit_compile: bool = False

    def read_rows(self) -> dict[str, Any]:
        """The task's rows and labels.

        `examples` are text to text, `inputs` and `targets` their ids with
        EOS, of all rows; `labels` L lists of ids with EOS, `label_words` L
        strings.
        """
        found = json.loads((Path(self.folder) / "rows.json").read_text())
        assert isinstance(found, dict)
        return found


def prepare(work: Work) -> None:
    """Writes the model, with random weights, and the rows."""
    import numpy as np

    from keras_prompt import tasks
    from keras_prompt.models.checkpoints import formats, hugging_face
    from keras_prompt.models.t5.config import T5Config
    from keras_prompt.models.t5.presets import find_checkpoint
    from keras_prompt.models.t5.variables import initial_weight, weight_table
    from keras_prompt.tokenizer import Tokenizer

    config = T5Config(**SIZES[work.size])
    table, rng = weight_table(config), np.random.default_rng(0)
    tokenizer = Tokenizer(
        formats.read(find_checkpoint("t5_1_1_nano_lm")).vocabulary
    )
    hugging_face.write(
        Path(work.folder) / "model",
        config,
        lambda name: initial_weight(name, table[name], rng),
        tokenizer.model_proto,
    )
    prompt = rng.uniform(-0.5, 0.5, (work.prompt_length, config.d_model))
    np.save(Path(work.folder) / "prompt.npy", prompt.astype(np.float32))
    task = tasks.get(work.task, data_dir=work.data_dir)
    examples = [
        {name: row[name] for name in ("inputs", "targets")}
        for row in task.examples("validation")
    ]

    def ids(text: str, length: int) -> list[int]:
        return [*tokenizer.encode(text)[: length - 1], tokenizer.eos_id]

    rows = {
        "examples": examples,
        "inputs": [ids(row["inputs"], work.input_length) for row in examples],
        "targets": [ids(row["targets"], 99) for row in examples],
        "labels": [ids(word, 99) for word in task.label_words],
        "label_words": list(task.label_words),
    }
    (Path(work.folder) / "rows.json").write_text(json.dumps(rows))
