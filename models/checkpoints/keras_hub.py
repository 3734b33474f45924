"""KerasHub's T5 presets: a folder with config.json and model.weights.h5.

The vocabulary is assets/tokenizer/vocabulary.spm; a large model's weights lie
in several files that model.weights.json names. The arrays are read from HDF5
here, not by KerasHub, which would build its own model first.

KerasHub has as many decoder as encoder layers and stores attention kernels
with heads and head width in one axis. Its `gelu` is the exact one, so a gated
T5 has `gelu_approximate`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import ml_dtypes
import numpy as np

from keras_prompt.models.checkpoints.checkpoint import (
    T5_VOCABULARY,
    Checkpoint,
    check_layers,
    fused_shape,
    read_json,
    weight_shape,
)
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.variables import weight_table
from keras_prompt.types import FloatArray

CONFIG, WEIGHTS, INDEX = (
    "config.json",
    "model.weights.h5",
    "model.weights.json",
)
VOCABULARY = "assets/tokenizer/vocabulary.spm"

_BLOCK = re.compile(r"(encoder|decoder)/block_(\d+)/layer_\d+/(.+)")
_PROJECTIONS = {"q": "query", "k": "key", "v": "value", "o": "output"}
_GATES = {
    "wi": "input_projector",
    "wi_0": "input_projector",
    "wi_1": "gate_projector",
    "wo": "output_projector",
}
# The state of dropout's random numbers, which some versions of Keras save.
_SEED = re.compile(r"(.+/)?seed_generator/vars/\d+")
_OLD_LAYERS = "_layer_checkpoint_dependencies/"  # before Keras 3
_READ_AT_ONCE = 1 << 25  # bytes


class _Dataset(NamedTuple):
    """One array of an HDF5 file; `path` is its place in it."""

    file: Path
    path: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def read(self) -> FloatArray:
        """The array; bfloat16 stays so, all else becomes float32."""
        is_bfloat16 = self.dtype == ml_dtypes.bfloat16
        value = np.empty(self.shape, self.dtype if is_bfloat16 else np.float32)
        row_bytes = 4 * int(np.prod(self.shape[1:], dtype=np.int64))
        step = max(1, _READ_AT_ONCE // row_bytes)
        with h5py.File(self.file) as file:
            stored = file[self.path]
            for start in range(0, self.shape[0], step):
                rows = stored[start : start + step]
                if is_bfloat16:
                    rows = rows.view(ml_dtypes.bfloat16)
                value[start : start + step] = rows
        return value


def recognizes(path: Path) -> bool:
    """Whether the folder holds weights or a configuration of this format."""
    if any((path / name).is_file() for name in (WEIGHTS, INDEX)):
        return True
    return (path / CONFIG).is_file() and "class_name" in read_json(
        path / CONFIG
    )


def read(path: Path) -> Checkpoint:
    """Opens a preset's folder; each weight is read when it is asked for.

    Raises:
        FileNotFoundError: a file is absent.
        ValueError: the configuration is no T5's, a weight is missing, unknown
            or of another shape, or a file is damaged.
    """
    for name in (CONFIG, VOCABULARY):
        if not (path / name).is_file():
            raise FileNotFoundError(
                f"{path} has no {name}. A KerasHub preset holds {CONFIG}, "
                f"{WEIGHTS} and {VOCABULARY}; T5's vocabulary is published at "
                f"{T5_VOCABULARY}."
            )
    config = _config(path / CONFIG)
    datasets = _datasets(path)
    check_layers(path, config, len(datasets))
    keys = {name: _key(name, config) for name in weight_table(config)}
    _check(path, config, keys, datasets)

    def weights(name: str) -> FloatArray:
        value = datasets[keys[name]].read()
        if name.endswith("/relative_attention_bias"):
            value = np.ascontiguousarray(value.T)
        return value.reshape(weight_shape(config, name))

    return Checkpoint(
        config,
        weights,
        (path / VOCABULARY).read_bytes(),
        datasets[keys["shared/embedding"]].dtype.name,
        tuple(sorted({dataset.file for dataset in datasets.values()})),
    )


def _config(path: Path) -> T5Config:
    values = read_json(path)
    if values.get("class_name") != "T5Backbone":
        raise ValueError(
            f"{path} must have `class_name` 'T5Backbone'. "
            f"Received: {values.get('class_name')!r}"
        )
    try:
        sizes: Mapping[str, Any] = values["config"]
        is_gated = sizes["use_gated_activation"]
        wanted = "gelu_approximate" if is_gated else "relu"
        activation = _activation(sizes["activation"])
        if activation != wanted:
            raise ValueError(
                f"{path} must have `activation` {wanted!r}, T5's"
                + (" 1.1 (KerasHub's 'gelu' is not)" if is_gated else "")
                + f". Received: {activation!r}"
            )
        return T5Config(
            vocab_size=sizes["vocabulary_size"],
            d_model=sizes["hidden_dim"],
            d_kv=sizes["key_value_dim"]
            or sizes["hidden_dim"] // sizes["num_heads"],
            d_ff=sizes["intermediate_dim"],
            num_heads=sizes["num_heads"],
            num_encoder_layers=sizes["num_layers"],
            num_decoder_layers=sizes["num_layers"],
            feed_forward="gated-gelu" if is_gated else "relu",
            is_tied=sizes["tie_embedding_weights"],
            layer_norm_epsilon=sizes["layer_norm_epsilon"],
        )
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise ValueError(f"{path} is no T5Backbone's: {error!r}.") from error


def _activation(value: Any) -> str:
    """A function's name, out of Keras' ways to write it.

    >>> _activation({"class_name": "function", "config": "keras_hub>f"})
    'f'
    """
    if isinstance(value, Mapping):
        value = value.get("config")
    return str(value).split(">")[-1]


def _datasets(path: Path) -> dict[str, _Dataset]:
    files = [path / WEIGHTS]
    if (path / INDEX).is_file():
        if files[0].is_file():
            raise ValueError(
                f"{path} has both {WEIGHTS} and {INDEX}; move the one that is "
                "not meant away."
            )
        index = read_json(path / INDEX).get("weight_map")
        if not isinstance(index, dict) or not index:
            raise ValueError(f"{path / INDEX} has no `weight_map`.")
        names: set[str] = set()
        for value in index.values():
            parts = [value] if isinstance(value, str) else value
            is_list = isinstance(parts, list)
            if not is_list or not all(isinstance(p, str) for p in parts):
                raise ValueError(
                    f"{path / INDEX} must name files in `weight_map`. "
                    f"Received: {value!r}"
                )
            names.update(parts)
        files = [path / Path(name).name for name in sorted(names)]
    datasets: dict[str, _Dataset] = {}
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(
                f"{path} has no {file.name}. Copy or download it again."
            )
        for key, dataset in _open(file).items():
            if key in datasets:
                raise ValueError(
                    f"{path}: '{key}' is both in {datasets[key].file.name} "
                    f"and in {file.name}."
                )
            datasets[key] = dataset
    return datasets


def _open(path: Path) -> dict[str, _Dataset]:
    found: dict[str, _Dataset] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            dtype = item.dtype
            if item.attrs.get("dtype") == "bfloat16":
                dtype = np.dtype(ml_dtypes.bfloat16)
            key = name.replace(_OLD_LAYERS, "layers/")
            found[key] = _Dataset(path, name, item.shape, dtype)

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(
            f"{path} is not a complete HDF5 file ({error}). "
            "Copy or download it again."
        ) from error
    return {
        key: dataset
        for key, dataset in found.items()
        if not _SEED.fullmatch(key)
    }


def _check(
    path: Path,
    config: T5Config,
    keys: Mapping[str, str],
    datasets: Mapping[str, _Dataset],
) -> None:
    allowed = (np.float32, np.float16, ml_dtypes.bfloat16)
    for name, key in keys.items():
        if key not in datasets:
            raise ValueError(
                f"{path} has no weight '{key}', which {CONFIG} asks for. "
                "Do both files belong to the same model?"
            )
        shape = fused_shape(name, weight_shape(config, name))
        if name.endswith("/relative_attention_bias"):
            shape = shape[::-1]
        if datasets[key].shape != shape:
            raise ValueError(
                f"{path}: '{key}' has shape {datasets[key].shape}, but "
                f"{CONFIG} asks for {shape}. Do both files belong to the same "
                "model?"
            )
        if datasets[key].dtype not in allowed:
            raise ValueError(
                f"{path}: '{key}' must hold floats of 16 or 32 bits. "
                f"Received: {datasets[key].dtype}"
            )
    for key in sorted(datasets.keys() - set(keys.values())):
        raise ValueError(f"{path} has a weight of no T5: '{key}'.")


def _key(name: str, config: T5Config) -> str:
    """KerasHub's place of a Mesh-TF name: layers counted by their class."""
    top = {
        "shared/embedding": "reversible_embedding/vars/0",
        "decoder/logits/kernel": "reversible_embedding/vars/1",
        "encoder/final_layer_norm/scale": "t5_layer_norm/vars/0",
        "decoder/final_layer_norm/scale": "t5_layer_norm_1/vars/0",
    }
    match = _BLOCK.fullmatch(name)
    if match is None:
        return f"layers/{top[name]}"
    stack, block, rest = match.groups()
    count = int(block)
    if stack == "decoder":
        count += config.num_encoder_layers
    at = "layers/t5_transformer_layer" + (f"_{count}" if count else "")
    kind, _, last = rest.partition("/")
    if kind == "DenseReluDense":
        return f"{at}/{_GATES[last.split('/')[0]]}/vars/0"
    if kind == "layer_norm":
        index = int(name.split("/layer_")[1][:3])
        norms = ["self_attention_layer_norm", "layer_norm"]
        if stack == "decoder":
            norms.insert(1, "cross_attention_layer_norm")
        return f"{at}/{norms[index]}/vars/0"
    attention = {"SelfAttention": "self", "EncDecAttention": "cross"}[kind]
    if last == "relative_attention_bias":
        return f"{at}/{attention}_attention/vars/0"
    return f"{at}/{attention}_attention/{_PROJECTIONS[last]}_projector/vars/0"
