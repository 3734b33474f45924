"""What TensorFlow Serving reads beside a SavedModel: how to serve it."""

import dataclasses
import re
import shlex
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_prompt.arguments import check_integers
from keras_prompt.atomic_files import write_file
from keras_prompt.export.server_card import CARD, ServerCard, read_server_card

MODELS = "models.config"
BATCHING = "batching.config"
WARM_UP = "assets.extra/tf_serving_warmup_requests"


@dataclasses.dataclass(frozen=True)
class ServingConfig:
    """What was written.

    Attributes:
        models: path of models.config.
        batching: path of batching.config.
        warm_up: path of the newest version's warm-up records.
        command: a `docker run` line for the official image.
    """

    models: Path
    batching: Path
    warm_up: Path
    command: str


def write_serving_config(
    base: str | Path,
    *,
    name: str = "base",
    max_batch_size: int = 32,
    batch_timeout_micros: int = 2000,
) -> ServingConfig:
    """Writes models.config, batching.config and warm-up records.

    Args:
        base: folder of numbered versions, as "server/base" of
            `export_server(…, "server/base/1", …)`; the files go beside it.
        name: the model's, in requests.
        max_batch_size: the most rows the server puts together.
        batch_timeout_micros: how long it waits for more rows.

    Raises:
        FileNotFoundError: the folder holds no exported server.
        ValueError: a number is not positive, the name is no name, another
            base is served from that folder, or the stubs of TensorFlow
            Serving are not installed.
        OSError: a file cannot be written.
    """
    check_integers(
        max_batch_size=(max_batch_size, 1),
        batch_timeout_micros=(batch_timeout_micros, 1),
    )
    if not name.replace("_", "").replace("-", "").isalnum():
        raise ValueError(
            f"`name` must be letters, digits, _ and -. Received: name={name!r}"
        )
    base = Path(base).absolute()
    version = _newest_version(base)
    card = read_server_card(version)
    folder = base.parent
    _refuse_other_base(folder / MODELS, base)
    records = _warm_up_records(name, card)
    write_file(folder / MODELS, _models(name, base))
    write_file(
        folder / BATCHING, _batching(max_batch_size, batch_timeout_micros)
    )
    write_file(version / WARM_UP, records)
    return ServingConfig(
        models=folder / MODELS,
        batching=folder / BATCHING,
        warm_up=version / WARM_UP,
        command=_docker_line(folder, card),
    )


def _newest_version(base: Path) -> Path:
    versions = [p for p in base.glob("*") if p.name.isdigit() and p.is_dir()]
    if (base / CARD).is_file():
        raise FileNotFoundError(
            f"{base} is one version of an exported server; give the folder of "
            f"the versions, {base.parent}."
        )
    if not versions:
        raise FileNotFoundError(
            f"{base} has no numbered version of an exported server. Export to "
            f"{base}/1, and give {base}."
        )
    return max(versions, key=lambda path: int(path.name))


def _refuse_other_base(path: Path, base: Path) -> None:
    """Refuses to drop a base that is served from the same folder."""
    text = path.read_text() if path.is_file() else ""
    served = re.findall('base_path: "(.*)"', text)
    if set(served) - {str(base)}:
        raise ValueError(
            f"{path} serves {' and '.join(served)}, and would be replaced. "
            f"Put {base.name} in another folder, or its `config` block into "
            "that file by hand."
        )


def _models(name: str, base: Path) -> str:
    # The folder is mounted where it lies, so one path holds inside and out.
    return (
        "model_config_list {\n"
        "  config {\n"
        f'    name: "{name}"\n'
        f'    base_path: "{base}"\n'
        '    model_platform: "tensorflow"\n'
        "  }\n"
        "}\n"
    )


def _batching(size: int, micros: int) -> str:
    return (
        f"max_batch_size {{ value: {size} }}\n"
        f"batch_timeout_micros {{ value: {micros} }}\n"
        "max_enqueued_batches { value: 100 }\n"
        "num_batch_threads { value: 2 }\n"
        # Rows of other lengths are padded. The server fills with a row's
        # first id, which the signatures do not read: they have lengths.
        "pad_variable_length_inputs: true\n"
    )


def _docker_line(folder: Path, card: ServerCard) -> str:
    words = ["docker", "run", "--rm", "-p", "8500:8500", "-p", "8501:8501"]
    for mounted in (folder, card.prompt_root):
        if mounted is not None:
            words += ["-v", f"{mounted}:{mounted}:ro"]
    words += [
        "tensorflow/serving:2.20.0",
        f"--model_config_file={folder / MODELS}",
        "--enable_batching",
        f"--batching_parameters_file={folder / BATCHING}",
    ]
    return shlex.join(words)


def _warm_up_records(name: str, card: ServerCard) -> bytes:
    """A request to each signature, as a TFRecord file of PredictionLogs."""
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ModuleNotFoundError as error:
        raise ValueError(
            "Warm-up records need the stubs of TensorFlow Serving: "
            "pip install --no-deps tensorflow-serving-api==2.21.0."
        ) from error
    inputs = {
        "task": np.array([b"warm-up"], dtype=object),
        "token_ids": np.ones((1, 2), np.int32),
        "token_lengths": np.full(1, 2, np.int32),
    }
    targets = {
        "target_ids": np.ones((1, 2, 2), np.int32),
        "target_lengths": np.full((1, 2), 2, np.int32),
    }
    prompt = {
        "prompt": np.zeros((1, 2, card.d_model), np.float32),
        "prompt_lengths": np.full(1, 2, np.int32),
    }
    tokens = {n: inputs[n] for n in ("token_ids", "token_lengths")}
    requests = {
        "serving_default": inputs,
        "generate": inputs,
        "score": inputs | targets,
        "with_prompt": tokens | prompt,
    }
    if card.takes_text:
        text = {"text": np.array([b"warm up"], dtype=object)}
        words = {"target_text": np.array([[b"yes", b"no"]], dtype=object)}
        task = {"task": inputs["task"]}
        requests |= {
            "generate_text": task | text,
            "score_text": task | text | words,
            "with_prompt_text": text | prompt,
        }
    records = []
    for signature, given in requests.items():
        log = prediction_log_pb2.PredictionLog()
        request = log.predict_log.request
        request.model_spec.name = name
        request.model_spec.signature_name = signature
        for key, value in given.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        records.append(log.SerializeToString())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "records"
        try:
            with tf.io.TFRecordWriter(str(path)) as writer:
                for record in records:
                    writer.write(record)
        except tf.errors.OpError as error:
            raise OSError(
                f"{path} cannot be written: {error.message}."
            ) from error
        return path.read_bytes()
