"""Several prompts of one task, in one pass."""

import numpy as np
import pytest

from keras_prompt.layers.prompt_bank import PromptBank
from keras_prompt.models.ensemble import PromptEnsemble, majority
from keras_prompt.models.prompt_bank_t5 import PromptBankT5
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.tasks.sources import RowsSource
from keras_prompt.tasks.task import Task
from keras_prompt.training.ensemble import evaluate_ensemble
from keras_prompt.training.evaluation import evaluate_examples

TEXTS = ["the film is a delight", "a dull film", "the cast", "a dog", "moon"]
# What these random weights choose between, now one and now the other.
LABELS = ("dog", "true")


@pytest.fixture
def ensemble(tiny_model):
    bank = PromptBank({"one": 3, "two": 2, "three": 3})
    model = PromptBankT5(tiny_model.backbone, tiny_model.tokenizer, bank)
    rng = np.random.default_rng(3)
    for weight in bank.prompts.values():
        weight.assign(3 * rng.normal(size=weight.shape))
    return PromptEnsemble(model)


@pytest.fixture
def alone(ensemble):
    models = []
    for weight in ensemble.model.bank.prompts.values():
        model = ensemble.model
        models.append(
            PromptTunedT5(model.backbone, model.tokenizer, weight.shape[0])
        )
        models[-1].prompt.embeddings.assign(weight)
    return models


@pytest.fixture
def task():
    rows = [
        {"inputs": text, "targets": LABELS[i % 2]}
        for i, text in enumerate(TEXTS)
    ]
    return Task("films", RowsSource({"validation": rows}), labels=LABELS)


def test_ties_go_to_the_earliest_prompts_answer():
    assert majority(["a", "b", "b"]) == "b"
    assert majority(["c", "b", "a"]) == "c"
    assert majority(["c", "a", "b", "b", "a"]) == "a"


def test_each_prompt_answers_as_alone_and_a_text_is_encoded_once_a_prompt(
    ensemble, alone, monkeypatch
):
    backbone, rows = ensemble.model.backbone, []
    encode = backbone.encode
    monkeypatch.setattr(
        backbone, "encode", lambda x, m: rows.append(x.shape) or encode(x, m)
    )
    ranks = ensemble.rank_each(TEXTS, LABELS, batch_size=15)
    assert [shape[0] for shape in rows] == [15]
    monkeypatch.undo()
    written = ensemble.generate_each(TEXTS, max_length=6, batch_size=7)
    assert ranks.shape == (5, 3, 2)
    for place, model in enumerate(alone):
        expected = model.rank(TEXTS, LABELS)
        np.testing.assert_allclose(ranks[:, place], expected, 1e-5, 1e-5)
        assert [row[place] for row in written] == model.generate(TEXTS, 6)


def test_one_text_instead_of_several_is_refused(ensemble):
    for answer in (ensemble.generate, lambda x: ensemble.rank(x, LABELS)):
        with pytest.raises(ValueError, match="Received one string: 'a film'"):
            answer("a film")
    with pytest.raises(ValueError, match="`labels` must be a sequence"):
        ensemble.rank_each(TEXTS, "no")
    assert ensemble.generate([]) == []
    assert ensemble.rank([], LABELS).shape == (0, 2)


def test_rank_sums_and_generate_votes(ensemble, alone):
    expected = sum(model.rank(TEXTS, LABELS) for model in alone)
    found = ensemble.rank(TEXTS, LABELS)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    written = [model.generate(TEXTS, 6) for model in alone]
    votes = [majority(row) for row in zip(*written, strict=True)]
    assert ensemble.generate(TEXTS, max_length=6) == votes


@pytest.mark.parametrize("answer_by", ["rank", "generate"])
def test_evaluation_has_each_prompt_average_best_and_ensemble(
    ensemble, alone, task, answer_by
):
    examples = task.examples("validation")
    counted = []
    found = evaluate_ensemble(
        ensemble, task, examples, answer_by=answer_by, progress=counted.append
    )
    assert sum(counted) == 5
    each = [
        evaluate_examples(model, task, examples, answer_by=answer_by)
        for model in alone
    ]
    assert all(len(set(one.outputs)) > 1 for one in each)
    assert [one.outputs for one in found.prompts.values()] == [
        one.outputs for one in each
    ]
    assert found.average == pytest.approx(np.mean([e.score for e in each]))
    assert found.best == max(e.score for e in each)
    votes = [majority(r) for r in zip(*(e.outputs for e in each), strict=True)]
    assert found.vote.outputs == votes
    if answer_by == "generate":
        assert found.likelihood is None
    else:
        summed = sum(model.rank(TEXTS, LABELS) for model in alone)
        expected = [LABELS[i] for i in summed.argmax(axis=1)]
        assert found.likelihood.outputs == expected
