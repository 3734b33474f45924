"""Hugging Face's T5 folders: config.json, model.safetensors, spiece.model.

This is also the format of the presets that ship. Hugging Face stores kernels
as (out, in) with heads and head width in one axis; ours are (in, out) with
them apart.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.variables import weight_table
from keras_prompt.types import FloatArray

CONFIG, WEIGHTS, VOCABULARY = "config.json", "model.safetensors", "spiece.model"

# Copies that some folders hold of weights with a rule of their own, and one
# weight that early versions created and never used.
_IGNORED = re.compile(
    r"(encoder|decoder)\.embed_tokens\.weight"
    r"|decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias"
    r"\.weight"
)


class Checkpoint(NamedTuple):
    """What a folder holds.

    Attributes:
        config: the T5's sizes.
        weights: reads one weight, by its Mesh-TF name, from disk.
        vocabulary: the SentencePiece file.
    """

    config: T5Config
    weights: Callable[[str], FloatArray]
    vocabulary: Path


def read(folder: Path) -> Checkpoint:
    """Opens a folder; each weight is read when it is asked for.

    Raises:
        FileNotFoundError: a file is absent.
        ValueError: the configuration is no T5's, a weight is missing, unknown
            or of another shape, or the file is truncated.
    """
    for name in (CONFIG, WEIGHTS, VOCABULARY):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} has no {name}; a checkpoint folder holds "
                f"{CONFIG}, {WEIGHTS} and {VOCABULARY}."
            )
    config = _read_config(folder / CONFIG)
    path = folder / WEIGHTS
    try:
        with safetensors.safe_open(path, "numpy") as file:
            shapes = {
                key: tuple(file.get_slice(key).get_shape())
                for key in file.keys()  # noqa: SIM118
            }
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is not a complete safetensors file ({error}). "
            "Copy or download it again."
        ) from error
    _check(path, config, shapes)

    def weights(name: str) -> FloatArray:
        with safetensors.safe_open(path, "numpy") as file:
            stored = file.get_tensor(_key(name))
        return _from_stored(name, stored, _shape(config, name))

    return Checkpoint(config, weights, folder / VOCABULARY)


def write(
    folder: Path,
    config: T5Config,
    weights: Callable[[str], FloatArray],
    model_proto: bytes,
    dtype: str = "float32",
) -> None:
    """Writes a folder that this module and `transformers` read.

    Args:
        folder: made if absent; a file in it is replaced only when complete.
        config: the T5's sizes.
        weights: gives a weight by its Mesh-TF name.
        model_proto: the SentencePiece model.
        dtype: "float32" or "bfloat16", which halves the file.
    """
    stored_dtype = np.float32 if dtype == "float32" else ml_dtypes.bfloat16
    stored = {
        _key(name): _to_stored(name, weights(name)).astype(stored_dtype)
        for name in weight_table(config)
    }
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{WEIGHTS}.partial"
    safetensors.numpy.save_file(stored, temporary, metadata={"format": "pt"})
    temporary.replace(folder / WEIGHTS)
    (folder / VOCABULARY).write_bytes(model_proto)
    text = json.dumps(_config_json(config, dtype), indent=2) + "\n"
    (folder / CONFIG).write_text(text)


def _read_config(path: Path) -> T5Config:
    try:
        values: Mapping[str, Any] = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if values.get("model_type") not in ("t5", "mt5"):
        raise ValueError(
            f"{path} must have `model_type` 't5' or 'mt5'. "
            f"Received: {values.get('model_type')!r}"
        )
    version_1_0 = {"relu": "relu", "gated-gelu": "gated-gelu"}
    feed_forward = values.get("feed_forward_proj", "relu")
    if feed_forward not in version_1_0:
        raise ValueError(
            f"{path} has `feed_forward_proj` {feed_forward!r}; T5 1.0 has "
            "'relu' and T5 1.1 'gated-gelu'."
        )
    try:
        return T5Config(
            vocab_size=values["vocab_size"],
            d_model=values["d_model"],
            d_kv=values["d_kv"],
            d_ff=values["d_ff"],
            num_heads=values["num_heads"],
            num_encoder_layers=values["num_layers"],
            num_decoder_layers=values.get("num_decoder_layers")
            or values["num_layers"],
            feed_forward=feed_forward,
            is_tied=values.get("tie_word_embeddings", True),
            num_buckets=values.get("relative_attention_num_buckets", 32),
            max_distance=values.get("relative_attention_max_distance", 128),
            layer_norm_epsilon=values.get("layer_norm_epsilon", 1e-6),
        )
    except KeyError as error:
        raise ValueError(f"{path} has no {error}.") from error


def _config_json(config: T5Config, dtype: str) -> dict[str, Any]:
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "vocab_size": config.vocab_size,
        "d_model": config.d_model,
        "d_kv": config.d_kv,
        "d_ff": config.d_ff,
        "num_heads": config.num_heads,
        "num_layers": config.num_encoder_layers,
        "num_decoder_layers": config.num_decoder_layers,
        "feed_forward_proj": config.feed_forward,
        "tie_word_embeddings": config.is_tied,
        "relative_attention_num_buckets": config.num_buckets,
        "relative_attention_max_distance": config.max_distance,
        "layer_norm_epsilon": config.layer_norm_epsilon,
        "is_encoder_decoder": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
        "torch_dtype": dtype,
    }


def _check(
    path: Path, config: T5Config, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    expected = {_key(name): name for name in weight_table(config)}
    for key, name in expected.items():
        if key not in shapes:
            raise ValueError(
                f"{path} has no weight '{key}', which {CONFIG} asks for "
                f"({config.num_encoder_layers} encoder and "
                f"{config.num_decoder_layers} decoder layers). "
                "Do both files belong to the same model?"
            )
        wanted = _stored_shape(name, _shape(config, name))
        if shapes[key] != wanted:
            raise ValueError(
                f"{path}: '{key}' has shape {shapes[key]}, but {CONFIG} asks "
                f"for {wanted}. Do both files belong to the same model?"
            )
    ignored = {"lm_head.weight"} if config.is_tied else set()
    for key in shapes:
        if not (key in expected or key in ignored or _IGNORED.fullmatch(key)):
            raise ValueError(f"{path} has a weight of no T5: '{key}'.")


def _shape(config: T5Config, name: str) -> tuple[int, ...]:
    return tuple(size for _, size in weight_table(config)[name])


def _key(name: str) -> str:
    """Hugging Face's name of a Mesh-TF name.

    >>> _key("encoder/block_000/layer_001/DenseReluDense/wi_0/kernel")
    'encoder.block.0.layer.1.DenseReluDense.wi_0.weight'
    """
    if name == "shared/embedding":
        return "shared.weight"
    if name == "decoder/logits/kernel":
        return "lm_head.weight"
    key = re.sub(r"(block|layer)_(\d+)", lambda m: f"{m[1]}.{int(m[2])}", name)
    key = re.sub(r"/(scale|kernel)$", "", key)
    return key.replace("/", ".") + ".weight"


def _stored_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if name == "shared/embedding" or len(shape) == 1:
        return shape
    if len(shape) == 2:
        return shape[::-1]
    if name.endswith("/o"):  # (heads, d_kv, d_model)
        return (shape[2], shape[0] * shape[1])
    return (shape[1] * shape[2], shape[0])  # of (d_model, heads, d_kv)


def _from_stored(
    name: str, stored: FloatArray, shape: tuple[int, ...]
) -> FloatArray:
    if name != "shared/embedding":
        stored = stored.T
    return np.ascontiguousarray(stored, np.float32).reshape(shape)


def _to_stored(name: str, value: FloatArray) -> FloatArray:
    stored = value.reshape(_stored_shape(name, value.shape)[::-1])
    if name == "shared/embedding":
        return value
    return np.ascontiguousarray(stored.T)
