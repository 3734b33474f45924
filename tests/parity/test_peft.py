"""A prompt here and a prompt in PEFT score and write the same."""

import numpy as np
import pytest
import safetensors.numpy

from keras_prompt.export.other_tools import export_peft, import_prompt
from keras_prompt.models.checkpoints import hugging_face

pytestmark = [
    pytest.mark.parity,
    # peft 0.21 reads a property that transformers 5 renames.
    pytest.mark.filterwarnings("ignore:`is_gradient_check:FutureWarning"),
]

TEXTS = ["the film is a delight", "a dull and tedious film", "the cast"]
TARGETS = ["positive", "negative contradiction", "a man"]


@pytest.fixture
def base(tiny_model, tmp_path):
    """`transformers`' T5 with the weights of `tiny_model`."""
    import transformers

    backbone = tiny_model.backbone
    hugging_face.write(
        tmp_path / "base",
        backbone.config,
        lambda name: backbone.weight(name).numpy(),
        tiny_model.tokenizer.model_proto,
    )
    return transformers.T5ForConditionalGeneration.from_pretrained(
        tmp_path / "base"
    )


@pytest.fixture
def model(tiny_model):
    value = np.random.RandomState(5).standard_normal((3, 16))
    tiny_model.prompt.embeddings.assign(value.astype(np.float32))
    return tiny_model


def score(peft_model, tokenizer):
    """Log-likelihoods of the targets, each row alone and unpadded."""
    import torch

    scores = []
    for text, target in zip(TEXTS, TARGETS, strict=True):
        ids = torch.tensor([[*tokenizer.encode(text), 1]])
        labels = torch.tensor([[*tokenizer.encode(target), 1]])
        with torch.no_grad():
            logits = peft_model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                labels=labels,
            ).logits
        chosen = logits.log_softmax(-1).gather(-1, labels[..., None])
        scores.append(chosen.sum().item())
    return np.array(scores)


def generate(peft_model, tokenizer):
    import torch

    outputs = []
    for text in TEXTS:
        ids = torch.tensor([[*tokenizer.encode(text), 1]])
        written = peft_model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=8,
            do_sample=False,
        )
        outputs.append(tokenizer.decode(written[0, 1:].tolist()))
    return outputs


def test_an_exported_adapter_scores_and_writes_in_peft_as_it_does_here(
    model, base, tmp_path
):
    import peft

    export_peft(model, tmp_path / "adapter")
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter")
    expected = score(theirs.eval(), model.tokenizer)
    ours = model.score(TEXTS, TARGETS)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)
    written = generate(theirs, model.tokenizer)
    assert model.generate(TEXTS, max_length=8) == written
    model.prompt.embeddings.assign(np.zeros((3, 16)))
    assert np.abs(model.score(TEXTS, TARGETS) - expected).max() > 1e-2


def test_an_adapter_of_peft_scores_here_as_it_does_in_peft(
    model, base, tmp_path
):
    import peft
    import torch

    config = peft.PromptTuningConfig(
        task_type="SEQ_2_SEQ_LM",
        num_virtual_tokens=3,
        prompt_tuning_init="RANDOM",
    )
    torch.manual_seed(7)
    theirs = peft.get_peft_model(base, config).eval()
    expected = score(theirs, model.tokenizer)
    theirs.save_pretrained(tmp_path / "adapter")
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    table = safetensors.numpy.load_file(weights)["prompt_embeddings"]
    assert table.shape == (6, 16)  # of which PEFT uses three
    import_prompt(model, tmp_path / "adapter")
    ours = model.score(TEXTS, TARGETS)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)
