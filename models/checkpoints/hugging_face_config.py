"""Hugging Face's config.json of a T5, read and written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from keras_prompt.models.checkpoints.checkpoint import read_json
from keras_prompt.models.t5.config import T5Config

CONFIG = "config.json"

# What `feed_forward_proj` stands for: whether gated, and the activation, which
# newer folders state as well. gelu_new is the tanh form, T5's and Mesh-TF's.
_FEED_FORWARD = {"relu": (False, "relu"), "gated-gelu": (True, "gelu_new")}
# Decoding starts, pads and ends with these, as every T5 published.
_TOKEN_IDS = {
    "decoder_start_token_id": 0,
    "pad_token_id": 0,
    "eos_token_id": 1,
}


class OutputLayer(NamedTuple):
    """What config.json says of the layer that gives the logits.

    Attributes:
        is_tied: whether the embedding table may stand in for it.
        is_scaled: whether its input is multiplied by `d_model ** -0.5`.
    """

    is_tied: bool
    is_scaled: bool


def read_output_layer(values: Mapping[str, Any]) -> OutputLayer:
    """How the output layer is meant, which changed with the version.

    Until version 4 `tie_word_embeddings` says both. Version 5 always writes
    it as true, and a T5's scaling into `scale_decoder_outputs`; its mT5 never
    scales.
    """
    is_tied = bool(values.get("tie_word_embeddings", True))
    if values.get("model_type") == "mt5":
        version = str(values.get("transformers_version", "4")).split(".")[0]
        is_old = not version.isdigit() or int(version) < 5
        return OutputLayer(is_tied, is_tied and is_old)
    return OutputLayer(
        is_tied, bool(values.get("scale_decoder_outputs", is_tied))
    )


def read_config(path: Path, values: Mapping[str, Any]) -> T5Config:
    """The sizes; `is_tied` is whether the output layer is a scaled copy.

    Raises:
        ValueError: it is no T5's, or one of another activation or of other
            special tokens.
    """
    if values.get("model_type") not in ("t5", "mt5"):
        raise ValueError(
            f"{path} must have `model_type` 't5' or 'mt5'. "
            f"Received: {values.get('model_type')!r}"
        )
    default = "gated-gelu" if values["model_type"] == "mt5" else "relu"
    feed_forward = values.get("feed_forward_proj", default)
    is_text = isinstance(feed_forward, str)
    if not is_text or feed_forward not in _FEED_FORWARD:
        raise ValueError(
            f"{path} has `feed_forward_proj` {feed_forward!r}; T5 1.0 has "
            "'relu' and T5 1.1 'gated-gelu'."
        )
    is_gated, activation = _FEED_FORWARD[feed_forward]
    for key, wanted in (
        ("is_gated_act", is_gated),
        ("dense_act_fn", activation),
    ):
        if values.get(key, wanted) != wanted:
            raise ValueError(
                f"{path} has `feed_forward_proj` {feed_forward!r}, so `{key}` "
                f"must be {wanted!r}. Received: {values[key]!r}"
            )
    for key, token_id in _TOKEN_IDS.items():
        if values.get(key) not in (None, token_id):
            raise ValueError(
                f"{path} has `{key}` {values[key]!r}; T5's is {token_id}, and "
                "targets are decoded with no other."
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
            is_tied=read_output_layer(values).is_scaled,
            num_buckets=values.get("relative_attention_num_buckets", 32),
            max_distance=values.get("relative_attention_max_distance", 128),
            layer_norm_epsilon=values.get("layer_norm_epsilon", 1e-6),
        )
    except KeyError as error:
        raise ValueError(f"{path} has no {error}.") from error


def read_values(folder: Path) -> dict[str, Any]:
    """What config.json holds.

    Raises:
        ValueError: it is no JSON object.
    """
    return read_json(folder / CONFIG)


def config_values(config: T5Config, dtype: str) -> dict[str, Any]:
    """What config.json holds for `transformers` 4 and 5 alike."""
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
