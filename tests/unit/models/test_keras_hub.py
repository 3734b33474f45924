"""Our stack against KerasHub's T5, the second oracle; it needs no torch."""

import keras
import keras_hub
import numpy as np
import pytest
from oracles.stack_cases import CASES, StackCase

# KerasHub has as many encoder as decoder layers and fixed buckets; its
# attention warns about a single token.
NAMES = ["t5_1_1", "t5_1_0", "tied_gated"]


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


def _tanh_gelu(x):
    return keras.activations.gelu(x, approximate=True)


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
        activation=_tanh_gelu if is_gated else "relu",
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


# KerasHub's embedding attaches a mask that its attention does not take.
@pytest.mark.filterwarnings("ignore:.*was passed an input with a mask")
@pytest.mark.filterwarnings("ignore:.*looks like it has unbuilt state")
@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_keras_hub(name: str):
    case = CASES[name]
    batch = case.batch()
    ids, targets = batch["encoder_token_ids"], batch["decoder_token_ids"]
    mask = batch["encoder_padding_mask"]
    theirs = keras_hub_backbone(case)
    hidden = theirs(
        {
            "encoder_token_ids": ids,
            "encoder_padding_mask": mask.astype(np.int32),
            "decoder_token_ids": targets,
            "decoder_padding_mask": np.ones_like(targets),
        }
    )["decoder_sequence_output"]
    weights = case.weights()
    if case.config.is_tied:
        expected = hidden * case.config.d_model**-0.5
        expected = expected @ weights["shared/embedding"].T
    else:
        expected = hidden @ weights["decoder/logits/kernel"]
    ours = case.backbone()
    logits = ours(ours.embed(ids), mask, targets)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
