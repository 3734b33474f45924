"""A bank's evaluation, checkpoints and exports."""

import numpy as np
import pytest

from keras_prompt.export.prompt import export_prompt, load_prompt, read_prompt
from keras_prompt.layers.prompt_bank import PromptBank
from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models.ensemble import PromptEnsemble
from keras_prompt.models.prompt_bank_t5 import PromptBankT5
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.optimizers import Adafactor
from keras_prompt.tasks.mixture import make_mixture_dataset
from keras_prompt.tasks.sources import RowsSource
from keras_prompt.tasks.task import Task
from keras_prompt.training.bank_evaluator import (
    BankEvaluator,
    evaluate_tasks,
)
from keras_prompt.training.checkpoint import PromptCheckpoint
from keras_prompt.training.ensemble import evaluate_ensemble
from keras_prompt.training.evaluation import evaluate_examples
from keras_prompt.training.evaluator import TaskEvaluator


def task(name, subject, labels, count):
    rows = [
        {
            "inputs": f"{subject}{' very' * (i % 3)} film{' a' * i}",
            "targets": labels[i % len(labels)],
        }
        for i in range(count)
    ]
    source = RowsSource({"train": rows, "validation": rows[:5]})
    return Task(name, source, labels=labels)


TASKS = [
    task("set/films", "the cast", ("positive", "negative"), 8),
    task("set/dogs", "a dog", ("True", "False", "a"), 5),
]


@pytest.fixture
def model(tiny_model):
    """Always the same two prompts."""
    bank = PromptBank({"set/films": 3, "set/dogs": 2})
    made = PromptBankT5(tiny_model.backbone, tiny_model.tokenizer, bank)
    for name in bank.names:
        made.initialize_prompt(
            name, lambda table, _, length, rng: table[5 : 5 + length]
        )
    made.compile(optimizer=Adafactor(0.3), loss=TokenCrossentropy())
    return made


def train(model, callbacks, epochs):
    data = make_mixture_dataset(
        TASKS,
        "train",
        model.tokenizer,
        input_length=24,
        target_length=12,
        batch_size={"set/films": 3, "set/dogs": 2},
        repeat=True,
    )
    return model.fit(
        data,
        epochs=epochs,
        steps_per_epoch=3,
        callbacks=callbacks,
        verbose=0,
    ).history


@pytest.mark.parametrize("answer_by", ["generate", "rank"])
def test_mixed_evaluation_is_each_tasks_own(model, answer_by):
    examples = {t.name: t.examples("validation") for t in TASKS}
    found = evaluate_tasks(
        model,
        TASKS,
        examples,
        answer_by=answer_by,
        batch_size=4,
        target_length=5,
    )
    for one in TASKS:
        weight = model.bank.prompts[one.name]
        alone = PromptTunedT5(model.backbone, model.tokenizer, weight.shape[0])
        alone.prompt.embeddings.assign(weight)
        expected = evaluate_examples(
            alone, one, examples[one.name], answer_by=answer_by, target_length=5
        )
        assert found[one.name] == expected


def test_the_evaluator_keeps_each_tasks_best_prompt(model, tmp_path, capsys):
    history = train(model, [BankEvaluator(TASKS, answer_by="rank")], epochs=3)
    for name in model.bank.names:
        scores = history[f"val_{name}"]
        assert model.best[name].score == max(scores)
        assert model.best[name].step == 3 * (1 + scores.index(max(scores)))
    means = np.mean([history[f"val_{n}"] for n in model.bank.names], axis=0)
    np.testing.assert_allclose(history["val_score"], means)
    assert "step 9 · set/dogs · accuracy" in capsys.readouterr().out

    best = model.best["set/dogs"]
    export_prompt(model, tmp_path / "dogs", prompt=best.prompt, task="set/dogs")
    prompt, card = read_prompt(tmp_path / "dogs")
    np.testing.assert_array_equal(prompt, best.prompt)
    assert (card.task, card.score, card.steps) == (
        "set/dogs",
        best.score,
        best.step,
    )


def test_a_bank_exports_and_loads_each_prompt_by_its_task(model, tmp_path):
    before = model.bank.prompts["set/dogs"].numpy()
    export_prompt(model, tmp_path / "dogs", task="set/dogs")
    model.bank.prompts["set/dogs"].assign(0 * before)
    load_prompt(model, tmp_path / "dogs")
    np.testing.assert_array_equal(model.bank.prompts["set/dogs"], before)
    with pytest.raises(ValueError, match="Did you mean 'set/dogs'"):
        export_prompt(model, tmp_path / "x", task="set/dog")
    with pytest.raises(ValueError, match="`task` must name one"):
        export_prompt(model, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_resumed_bank_ends_bit_equal_to_one_never_stopped(model, tmp_path):
    def run(folder, epochs):
        callbacks = [
            PromptCheckpoint(tmp_path / folder, every_steps=2),
            BankEvaluator(TASKS, answer_by="rank", verbose=False),
        ]
        train(model, callbacks, epochs)
        return {n: w.numpy() for n, w in model.prompt_weights.items()}

    def restart():
        for name in model.bank.names:
            model.initialize_prompt(
                name, lambda table, _, length, rng: table[5 : 5 + length]
            )
        model.best_prompts.clear()
        model.compile(optimizer=Adafactor(0.3), loss=TokenCrossentropy())

    whole = run("whole", 4)
    best = dict(model.best)
    restart()
    run("broken", 2)
    restart()
    found = run("broken", 4)
    for name, value in whole.items():
        np.testing.assert_array_equal(found[name], value)
    for name, expected in best.items():
        again = model.best[name]
        assert (again.score, again.step) == (expected.score, expected.step)
        np.testing.assert_array_equal(again.prompt, expected.prompt)


def test_a_mixture_of_another_order_is_refused_wherever_it_is_given(model):
    """Its rows would get each other's prompts."""

    def mixture(tasks):
        return make_mixture_dataset(
            tasks,
            "train",
            model.tokenizer,
            input_length=24,
            target_length=12,
            batch_size=2,
        )

    right, wrong = mixture(TASKS), mixture(TASKS[::-1])
    for use in (
        lambda: model.fit(wrong, verbose=0),
        lambda: model.fit(wrong.prefetch(1), verbose=0),
        lambda: model.fit(right, validation_data=wrong, verbose=0),
        lambda: model.evaluate(wrong, verbose=0),
        lambda: model.predict(wrong, verbose=0),
    ):
        with pytest.raises(ValueError, match="bank's, in its order"):
            use()
    assert np.isfinite(model.evaluate(right.take(1), verbose=0))


def test_evaluators_of_other_models_and_tasks_are_refused_before_fit(model):
    before = model.bank.prompts["set/dogs"].numpy()
    other = task("set/cats", "a cat", ("True",), 2)
    for evaluator, message in (
        (TaskEvaluator(TASKS[0]), r"is BankEvaluator\(\[task, …\]\)"),
        (BankEvaluator([other]), "Unknown task 'set/cats'"),
    ):
        with pytest.raises(ValueError, match=message):
            train(model, [evaluator], epochs=1)
    np.testing.assert_array_equal(model.bank.prompts["set/dogs"], before)


def test_a_prompt_begun_anew_forgets_its_own_best_only(model):
    for name in model.bank.names:
        model.keep_best(name, 50.0, 1)
    model.initialize_prompt("set/dogs", lambda table, *_: table[:2])
    assert list(model.best) == ["set/films"]


def test_the_best_of_a_task_is_kept_whatever_becomes_of_the_others(model):
    for name in model.bank.names:
        model.keep_best(name, 101.0, 1)  # before any evaluation: of what?
    evaluations = {}
    films, dogs = TASKS
    other_dogs = task("set/dogs", "no dog", ("True", "False", "a"), 5)
    for tasks, unbeaten in (
        ([films, dogs], set()),
        ([films], {"set/films", "set/dogs"}),
        ([other_dogs, films], {"set/films"}),
    ):
        evaluator = BankEvaluator(tasks, answer_by="rank", verbose=False)
        evaluations |= evaluator.evaluations
        train(model, [evaluator], epochs=1)
        best = model.best
        assert best.keys() == set(model.bank.names)
        assert {n for n in best if best[n].score > 100} == unbeaten
        for name in model.bank.names:
            model.keep_best(name, 101.0, 1, evaluations[name])


@pytest.mark.parametrize(
    "size",
    [
        {"batch_size": -1},
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"input_length": 1},
        {"target_length": 0},
        {"target_length": True},
    ],
)
def test_sizes_that_nothing_goes_through_with_are_refused_by_all(
    model, tiny_model, size
):
    """Before a row is read, and whichever way the answers come."""
    (name,) = size
    films, dogs = TASKS
    rows = films.examples("validation")
    options = {"answer_by": "rank", **size}
    bank = PromptBank({"a": 3, "b": 3})
    ensemble = PromptEnsemble(
        PromptBankT5(tiny_model.backbone, tiny_model.tokenizer, bank)
    )
    for use in (
        lambda: evaluate_examples(tiny_model, films, rows, **options),
        lambda: evaluate_tasks(model, [films], {films.name: rows}, **options),
        lambda: evaluate_ensemble(ensemble, films, rows, **options),
        lambda: TaskEvaluator(films, **options),
        lambda: BankEvaluator([films, dogs], **options),
    ):
        with pytest.raises(ValueError, match=f"`{name}` must be an? .*integer"):
            use()


def test_wrong_counts_and_tasks_without_prompts_are_refused(model):
    with pytest.raises(ValueError, match="`limit` must be a positive"):
        BankEvaluator(TASKS, limit=0)
    other = task("set/cats", "a cat", ("True",), 2)
    with pytest.raises(ValueError, match="Unknown task 'set/cats'"):
        evaluate_tasks(
            model, [other], {"set/cats": other.examples("validation")}
        )
