"""KerasHub's T5 with the weights of a case; it needs no torch."""

import keras_hub
import numpy as np
from keras_hub.src.utils.keras_utils import gelu_approximate
from oracles.stack_cases import StackCase


def keras_hub_names(config):
    """Mesh-TF names in the order of KerasHub's weights."""
    yield "shared/embedding"
    if not config.is_tied:
        yield "decoder/logits/kernel"
    for stack in ("encoder", "decoder"):
        kinds = ["SelfAttention"]
        kinds += ["EncDecAttention"] if stack == "decoder" else []
        first = f"{stack}/block_000/layer_000/SelfAttention"
        yield f"{first}/relative_attention_bias"
        for layer in range(config.num_encoder_layers):
            block = f"{stack}/block_{layer:03d}"
            for index, kind in enumerate(kinds):
                for name in "qkvo":
                    yield f"{block}/layer_{index:03d}/{kind}/{name}"
                yield f"{block}/layer_{index:03d}/layer_norm/scale"
            last = f"{block}/layer_{len(kinds):03d}"
            is_gated = config.feed_forward == "gated-gelu"
            for name in ("wi_0", "wi_1", "wo") if is_gated else ("wi", "wo"):
                yield f"{last}/DenseReluDense/{name}/kernel"
            yield f"{last}/layer_norm/scale"
        yield f"{stack}/final_layer_norm/scale"


def keras_hub_backbone(case: StackCase) -> keras_hub.models.T5Backbone:
    config = case.config
    is_gated = config.feed_forward == "gated-gelu"
    backbone = keras_hub.models.T5Backbone(
        vocabulary_size=config.vocab_size,
        num_layers=config.num_encoder_layers,
        num_heads=config.num_heads,
        hidden_dim=config.d_model,
        intermediate_dim=config.d_ff,
        key_value_dim=config.d_kv,
        dropout=0.0,
        activation=gelu_approximate if is_gated else "relu",
        use_gated_activation=is_gated,
        tie_embedding_weights=config.is_tied,
    )
    weights = case.weights()
    names = list(keras_hub_names(config))
    assert sorted(names) == sorted(weights)
    for variable, name in zip(backbone.weights, names, strict=True):
        value = weights[name]
        if name.endswith("relative_attention_bias"):
            value = value.T
        variable.assign(value.reshape(variable.shape))
    return backbone


def logits_of(backbone):
    """KerasHub's language model over a backbone, as `users_model` asks."""
    model = keras_hub.models.T5Seq2SeqLM(backbone)

    def logits(ids, decoder_ids):
        return model(
            {
                "encoder_token_ids": ids,
                "encoder_padding_mask": np.ones_like(ids),
                "decoder_token_ids": decoder_ids,
                "decoder_padding_mask": np.ones_like(decoder_ids),
            }
        )

    return logits
