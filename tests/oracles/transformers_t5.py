"""The first oracle: the T5 of `transformers`, on torch."""

import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from oracles.stack_cases import StackCase

from keras_prompt.models.checkpoints import hugging_face


def load(case: StackCase, model_proto: bytes) -> torch.nn.Module:
    """`transformers`' T5 with a case's weights, through our own writer."""
    weights = case.weights()
    with tempfile.TemporaryDirectory() as folder:
        hugging_face.write(
            Path(folder), case.config, weights.__getitem__, model_proto
        )
        model = transformers.T5ForConditionalGeneration.from_pretrained(folder)
    return model.eval()


def run(case: StackCase) -> dict[str, np.ndarray]:
    """Logits, mean target loss and its gradient at the prompt."""
    model = load(case, b"")
    batch = case.batch()
    prompt = torch.tensor(batch["prompt"], requires_grad=True)
    ids = torch.tensor(batch["encoder_token_ids"]).long()
    rows = len(ids)
    embedded = torch.cat(
        [prompt[None].expand(rows, -1, -1), model.shared(ids)], dim=1
    )
    mask = torch.tensor(batch["encoder_padding_mask"]).long()
    mask = torch.cat([torch.ones(rows, len(prompt)).long(), mask], dim=1)
    logits = model(
        inputs_embeds=embedded,
        attention_mask=mask,
        decoder_input_ids=torch.tensor(batch["decoder_token_ids"]).long(),
    ).logits
    targets = torch.tensor(batch["targets"]).long()
    loss = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=0
    )
    loss.backward()
    return {
        "logits": logits.detach().numpy(),
        "loss": loss.detach().numpy(),
        "gradient": prompt.grad.numpy(),
    }
