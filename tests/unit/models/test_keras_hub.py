"""Our stack against KerasHub's T5, the second oracle; it needs no torch."""

import numpy as np
import pytest
from oracles.keras_hub_t5 import keras_hub_backbone
from oracles.stack_cases import CASES

# KerasHub has as many encoder as decoder layers and fixed buckets; its
# attention warns about a single token.
NAMES = ["t5_1_1", "t5_1_0", "tied_gated"]


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
