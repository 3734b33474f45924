"""One small model as a user has it: a vocabulary, sentences, a prompt.

The prompt is the embeddings of three tokens, so that a library without prompts
computes the same with those tokens before the input.
"""

import numpy as np
from oracles.stack_cases import StackCase

from keras_prompt.models.decoding import shift_right
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.t5.config import T5Config

TEXTS = (
    "The film is a delight and the cast is wonderful.",
    "hypothesis: The man slept. premise: He was tired and went to sleep.",
    "A dull, tedious film",
)
TARGETS = ("positive", "entailment", "negative and dull")
PROMPT_IDS = (7, 21, 4)
MAX_LENGTH = 5
_SIZES = {
    "vocab_size": 320,
    "d_model": 16,
    "d_kv": 4,
    "d_ff": 24,
    "num_heads": 3,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
}
CASES = {
    name: StackCase(name, T5Config(**_SIZES, **changes), 3, (5,), (2,))
    for name, changes in {
        "users_1_1": {},
        "users_1_0": {"feed_forward": "relu", "is_tied": True},
    }.items()
}


def prompted(path, **options):
    """The model of a checkpoint, its prompt set."""
    model = PromptTunedT5.from_preset(path, len(PROMPT_IDS), **options)
    table = model.backbone.embedding_table()
    model.prompt.embeddings.assign(table[list(PROMPT_IDS)])
    return model


def ours(path):
    """Log-likelihoods of TARGETS, and what is written greedily."""
    model = prompted(path)
    scores = model.score(TEXTS, TARGETS)
    return scores, model.generate(TEXTS, max_length=MAX_LENGTH)


def theirs(tokenizer, logits_of):
    """The same by another library's logits, without any cache.

    Args:
        tokenizer: ours.
        logits_of: takes encoder ids (1, S) and decoder ids (1, T), all real,
            and gives logits (1, T, V).
    """
    scores, outputs = [], []
    for text, target in zip(TEXTS, TARGETS, strict=True):
        ids = [*PROMPT_IDS, *tokenizer.encode(text), tokenizer.eos_id]
        ids = np.array([ids])
        labels = np.array([[*tokenizer.encode(target), tokenizer.eos_id]])
        logits = logits_of(ids, np.array(shift_right(labels)))[0]
        logits = np.asarray(logits, np.float64)
        logits -= logits.max(-1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        scores.append(logits[np.arange(labels.size), labels[0]].sum())
        written = [tokenizer.pad_id]
        while len(written) <= MAX_LENGTH and tokenizer.eos_id not in written:
            logits = np.asarray(logits_of(ids, np.array([written])))
            written.append(int(logits[0, -1].argmax()))
        outputs.append(tokenizer.decode(written[1:]))
    return np.array(scores), outputs


def assert_equal(path, tokenizer, logits_of):
    """A user's two results, within 1e-4, from another library's logits."""
    scores, outputs = ours(path)
    expected_scores, expected_outputs = theirs(tokenizer, logits_of)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-4, atol=1e-4)
    assert outputs == expected_outputs
    assert any(outputs)
