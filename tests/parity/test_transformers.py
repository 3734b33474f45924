"""Our stack against the live `transformers` T5, on the same weights."""

import numpy as np
import pytest
from oracles.stack_cases import CASES, run_ours

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("name", CASES)
def test_logits_loss_and_prompt_gradient_equal_transformers(name: str):
    from oracles import transformers_t5

    case = CASES[name]
    theirs = transformers_t5.run(case)
    ours = run_ours(case.backbone(), case.batch())
    for quantity, expected in theirs.items():
        np.testing.assert_allclose(
            ours[quantity], expected, rtol=1e-4, atol=1e-4, err_msg=quantity
        )
