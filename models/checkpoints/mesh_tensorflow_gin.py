"""The few bindings of operative_config.gin that a checkpoint's arrays lack.

Mesh TensorFlow leaves this file beside a run's checkpoints: one binding a
value, `decoder/SelfAttention.num_heads = %num_heads`, where `%` stands for a
macro. Nothing of it is executed.
"""

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_prompt.models.t5.config import T5Config

CONFIG = "operative_config.gin"

_BINDING = re.compile(r"^([A-Za-z_][\w./]*)\s*=\s*(.+)$")
_GATED = (["gelu", "linear"], ("gelu", "linear"))
# What T5 had in every model it published, and what this stack computes.
_FIXED: Mapping[str, tuple[Any, ...]] = {
    "SelfAttention.fold_scaling_into_initializer": (True,),
    "EncDecAttention.fold_scaling_into_initializer": (True,),
    "SelfAttention.relative_attention_type": ("bias_shared",),
    "SelfAttention.shared_kv": (False,),
    "SelfAttention.num_memory_heads": (0,),
    "SelfAttention.attention_func": (None, "dot_product"),
    "EncDecAttention.relative_attention_type": (None,),
    "DenseReluDense.use_bias": (False,),
    "Unitransformer.positional_embedding": (False,),
    "Unitransformer.ensemble": (None,),
    "LayerStack.norm_epsilon": (None, 1e-6),
    "sublayer_rms_norm.epsilon": (1e-6,),
}


def read_bindings(path: Path) -> dict[str, list[Any]]:
    """Every binding's values over all scopes, by `Class.argument`.

    `decoder/` and `encoder/` are scopes, and a module before the class is
    left out. What is no literal, as `@reference`, stays text.
    """
    # A value goes on after a backslash or inside a bracket.
    lines = re.sub(r"\\\n\s*", " ", path.read_text(errors="replace"))
    lines = re.sub(r",\n\s+", ", ", lines)
    values: dict[str, Any] = {}
    for line in lines.splitlines():
        match = _BINDING.match(line.strip())
        if match:
            values[match[1]] = _literal(match[2].split(" #")[0].strip())
    bindings: dict[str, list[Any]] = {}
    for name, value in values.items():
        if isinstance(value, str) and value.startswith("%"):
            value = values.get(value.removeprefix("%"), value)
        short = ".".join(name.split("/")[-1].split(".")[-2:])
        if value not in bindings.setdefault(short, []):
            bindings[short].append(value)
    return bindings


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text  # all that it documents


def check_bindings(path: Path, config: T5Config) -> None:
    """Refuses what the arrays do not show and this stack does not compute.

    Raises:
        ValueError: the file describes another model than the arrays.
    """
    bindings = read_bindings(path)
    is_gated = config.feed_forward == "gated-gelu"
    wanted: dict[str, tuple[Any, ...]] = {
        **_FIXED,
        "DenseReluDense.activation": _GATED if is_gated else ("relu",),
        "SelfAttention.num_heads": (config.num_heads,),
        "SelfAttention.key_value_size": (config.d_kv,),
        "SelfAttention.relative_attention_num_buckets": (config.num_buckets,),
    }
    for name, allowed in wanted.items():
        for value in bindings.get(name, ()):
            if value not in allowed:
                raise ValueError(
                    f"{path} has {name} = {value!r}; with these arrays a T5 "
                    f"has {allowed[0]!r}. Do both belong to the same model?"
                )


def bindings_text(config: T5Config) -> str:
    """An operative_config.gin of what is known of a model.

    Names are those under which Mesh TensorFlow finds the norms' weights:
    its `legacy` sublayers call them layer_norm.
    """
    is_gated = config.feed_forward == "gated-gelu"
    activation = ["gelu", "linear"] if is_gated else "relu"
    lines = [
        f"d_ff = {config.d_ff}",
        f"d_kv = {config.d_kv}",
        f"d_model = {config.d_model}",
        f"num_heads = {config.num_heads}",
        "Bitransformer.shared_embedding = True",
    ]
    for stack, layers in (
        ("decoder", config.num_decoder_layers),
        ("encoder", config.num_encoder_layers),
    ):
        lines += [
            f"{stack}/DenseReluDense.activation = {activation!r}",
            f"{stack}/DenseReluDense.hidden_size = %d_ff",
            f"{stack}/LayerStack.sublayers_final = "
            "[@transformer.sublayer_legacy_final_rms_norm, "
            "@transformer.sublayer_legacy_dropout]",
            f"{stack}/LayerStack.sublayers_per_layer = "
            "[@transformer.sublayer_legacy_rms_norm, "
            "@transformer.sublayer_call_layer, "
            "@transformer.sublayer_legacy_dropout, "
            "@transformer.sublayer_residual]",
            f"{stack}/make_layer_stack.num_layers = {layers}",
            f"{stack}/SelfAttention.key_value_size = %d_kv",
            f"{stack}/SelfAttention.num_heads = %num_heads",
            f"{stack}/SelfAttention.relative_attention_num_buckets = "
            f"{config.num_buckets}",
            f"{stack}/SelfAttention.relative_attention_type = 'bias_shared'",
            f"{stack}/Unitransformer.d_model = %d_model",
            f"{stack}/Unitransformer.positional_embedding = False",
            f"{stack}/Unitransformer.shared_embedding_and_softmax_weights = "
            f"{config.is_tied}",
        ]
    return "\n".join(lines) + "\n"
