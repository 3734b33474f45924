"""The bank's model: a mixed batch answers as each prompt alone."""

import keras
import numpy as np
import pytest

from keras_prompt.export.prompt import export_prompt
from keras_prompt.layers.prompt_bank import PromptBank
from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models.prompt_bank_t5 import PromptBankT5
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.text_batches import pad_rows, text_batches
from keras_prompt.optimizers import Adafactor

LENGTHS = {"first": 3, "second": 7, "third": 1}
LABELS = {
    "first": ["positive", "a"],
    "second": ["True"],
    "third": ["dog", "the man", "film"],
}
TEXTS = [
    "the film is a delight",
    "a dull film",
    "the cast",
    "he runs every morning and she walks to school",
    "a dog barked at the moon",
]
TASKS = ["second", "first", "third", "third", "second"]


@pytest.fixture
def alone(tiny_model):
    """A model of one prompt for each task."""
    rng = np.random.default_rng(0)
    models = {}
    for name, length in LENGTHS.items():
        models[name] = PromptTunedT5(
            tiny_model.backbone, tiny_model.tokenizer, length
        )
        models[name].prompt.embeddings.assign(rng.normal(size=(length, 16)))
    return models


@pytest.fixture
def served(alone, tmp_path):
    folders = []
    for name, model in alone.items():
        export_prompt(
            model, tmp_path / name, task=name, label_words=LABELS[name]
        )
        folders.append(tmp_path / name)
    model = alone["first"]
    bank = PromptBank.load(folders)
    return PromptBankT5(model.backbone, model.tokenizer, bank)


def features(model, texts, tasks, targets):
    x = next(text_batches(texts, model.tokenizer, len(texts), 64)).features
    y = pad_rows(model.target_rows(targets))
    x["decoder_token_ids"] = np.pad(y[:, :-1], [(0, 0), (1, 0)])
    return x | {"task_index": model.bank.index(tasks)}, y


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 2, 0, 3, 1], [2, 3]])
@pytest.mark.parametrize("padding", [0, 6])
def test_row_i_of_a_mixed_batch_is_its_prompt_alone(
    served, alone, order, padding
):
    texts, tasks = [TEXTS[i] for i in order], [TASKS[i] for i in order]
    x, _ = features(served, texts, tasks, ["a film"] * len(order))
    for name in ("encoder_token_ids", "encoder_padding_mask"):
        x[name] = np.pad(x[name], [(0, 0), (0, padding)])
    logits = served(x).numpy()
    predicted = served.predict(x, batch_size=2, verbose=0)
    for row, (text, task) in enumerate(zip(texts, tasks, strict=True)):
        single, _ = features(served, [text], [task], ["a film"])
        expected = alone[task](single)[0]
        np.testing.assert_allclose(logits[row], expected, 1e-5, 1e-5)
        np.testing.assert_allclose(predicted[row], expected, 1e-5, 1e-5)


def test_generate_score_and_rank_answer_as_each_prompt_alone(served, alone):
    targets = ["a", "the film", "dog", "a delight", "moon"]
    texts = served.generate(TEXTS, TASKS, max_length=8, batch_size=2)
    scores = served.score(TEXTS, TASKS, targets, batch_size=3)
    ranks = served.rank(TEXTS, TASKS, batch_size=4)
    assert ranks.shape == (5, 3)
    for row, task in enumerate(TASKS):
        model, text = alone[task], [TEXTS[row]]
        assert texts[row] == model.generate(text, max_length=8)[0]
        score = model.score(text, [targets[row]])[0]
        np.testing.assert_allclose(scores[row], score, 1e-5, 1e-5)
        expected = model.rank(text, LABELS[task])[0]
        count = len(LABELS[task])
        np.testing.assert_allclose(ranks[row, :count], expected, 1e-5, 1e-5)
        assert (ranks[row, count:] == -np.inf).all()
    assert served.generate(TEXTS, "first", 8) == alone["first"].generate(
        TEXTS, 8
    )


def test_no_texts_are_no_answers(served):
    assert served.generate([], []) == []
    assert served.score([], [], []).shape == (0,)
    assert served.rank([], []).shape == (0, 0)


def test_unknown_tasks_are_refused_before_anything_runs(served):
    for call in (
        lambda: served.generate(TEXTS, [*TASKS[:4], "secnd"]),
        lambda: served.rank(
            TEXTS, [*TASKS[:4], "secnd"], LABELS | {"secnd": "a"}
        ),
        lambda: served.score(TEXTS, "secnd", ["a"] * 5),
        lambda: served.initialize_prompt("secnd", lambda *_: 0),
    ):
        with pytest.raises(ValueError, match="Did you mean 'second'"):
            call()


def test_counts_that_differ_and_missing_labels_are_refused(served):
    with pytest.raises(ValueError, match="5 texts and 2 tasks"):
        served.generate(TEXTS, ["first", "second"])
    with pytest.raises(ValueError, match="5 texts and 1 targets"):
        served.score(TEXTS, TASKS, ["a"])
    with pytest.raises(ValueError, match="Task 'third' has no labels"):
        served.rank(TEXTS, TASKS, {"first": ["a"], "second": ["b"]})
    with pytest.raises(ValueError, match=r"`labels\['first'\]` must be a seq"):
        served.rank(TEXTS, "first", {"first": "no"})
    with pytest.raises(ValueError, match="`targets` must be a sequence"):
        served.score(["a", "b"], "first", "no")


def test_tasks_and_labels_of_another_kind_are_refused(served):
    with pytest.raises(ValueError, match="must give each task's by its name"):
        served.rank(TEXTS, TASKS, ["a", "the film"])
    for tasks in (None, set(TASKS), [None] * len(TEXTS)):
        with pytest.raises(ValueError, match="`tasks` must be a sequence of"):
            served.generate(TEXTS, tasks)


def test_a_prompt_of_another_base_or_width_is_refused_by_name(
    served, alone, tmp_path
):
    config = served.backbone.config
    other = MeshT5Backbone(config, seed=4, preset="other")
    with pytest.raises(ValueError, match=r"'first' was tuned on tiny .*other"):
        PromptBankT5(other, served.tokenizer, served.bank)
    import dataclasses

    wide = MeshT5Backbone(dataclasses.replace(config, d_model=20))
    with pytest.raises(ValueError, match=r"'first' has d_model 16.*has 20"):
        PromptBankT5(wide, served.tokenizer, served.bank)
    built = PromptBank({"new": 2})
    built.build((None, None, 7))
    with pytest.raises(ValueError, match=r"'new' has d_model 7.*has 16"):
        PromptBankT5(served.backbone, served.tokenizer, built)


def test_evaluate_sums_each_tasks_own_token_mean(served, alone):
    targets = ["a", "the film", "dog", "a delight", "moon"]
    x, y = features(served, TEXTS, TASKS, targets)
    weights = (y != 0).astype(np.float32)
    served.compile(optimizer=Adafactor(0.3), loss=TokenCrossentropy())
    found = served.evaluate(x, y, sample_weight=weights, verbose=0)
    expected = 0.0
    for task, model in alone.items():
        model.compile(optimizer=Adafactor(0.3), loss=TokenCrossentropy())
        rows = [i for i, name in enumerate(TASKS) if name == task]
        mine = {name: value[rows] for name, value in x.items()}
        expected += model.evaluate(
            mine, y[rows], sample_weight=weights[rows], verbose=0
        )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_loss_that_cannot_be_told_apart_by_task_is_refused(served):
    for loss in (("sgd", "mse"), ("sgd", keras.losses.MeanSquaredError())):
        with pytest.raises(ValueError, match="must be a mean over weights"):
            served.compile(*loss)
    served.compile("sgd", TokenCrossentropy())
    assert isinstance(served.loss, TokenCrossentropy)


def test_an_optimizer_that_would_couple_the_prompts_is_refused(served):
    coupled = Adafactor(0.3, global_clipnorm=1.0)
    scaled = keras.optimizers.LossScaleOptimizer(coupled)
    for optimizer in (coupled, scaled, keras.optimizers.serialize(coupled)):
        with pytest.raises(ValueError, match="`clipnorm`, which is a prompt"):
            served.compile(optimizer, TokenCrossentropy())
    served.compile(Adafactor(0.3, clipnorm=1.0), TokenCrossentropy())


def test_the_report_counts_every_prompt(served):
    assert "trainable (3 prompts): 176 ·" in served.parameter_report()


def test_weights_of_rows_are_refused_as_for_one_prompt(served):
    x, y = features(served, TEXTS, TASKS, ["a", "the film", "dog", "a", "a"])
    served.compile(optimizer=Adafactor(0.3), loss=TokenCrossentropy())
    with pytest.raises(
        ValueError, match=r"shape \(B, T\)\. Received: \(None,\)"
    ):
        served.fit(x, y, sample_weight=np.ones(len(y)), verbose=0)


def test_inputs_without_tasks_say_where_they_come_from(served):
    x, _ = features(served, TEXTS, TASKS, ["a"] * 5)
    del x["task_index"]
    with pytest.raises(ValueError, match="`make_mixture_dataset`, also for"):
        served(x)


def test_labels_may_be_an_array(served):
    listed = served.rank(TEXTS, "first", {"first": ["a", "film"]})
    array = served.rank(TEXTS, "first", {"first": np.array(["a", "film"])})
    np.testing.assert_array_equal(listed, array)


def bank_of(model, *names):
    bank = PromptBank(dict.fromkeys(names, 2))
    return PromptBankT5(model.backbone, model.tokenizer, bank)


# keras: it copies a variable with `np.array`, of which NumPy complains.
@pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")
def test_saved_weights_find_the_prompts_of_their_names(tiny_model, tmp_path):
    """Whatever their order; a "/" divides the paths in a file of weights."""
    names = ["glue/rte", "glue", "a%2Fb", "a/b"]
    saved, other = (
        bank_of(tiny_model, *order) for order in (names, reversed(names))
    )
    for number, weight in enumerate(saved.bank.prompts.values()):
        weight.assign(np.full((2, 16), number))
    saved.save_weights(tmp_path / "bank.weights.h5")
    other.load_weights(tmp_path / "bank.weights.h5")
    assert other.bank.names == names[::-1]
    for number, name in enumerate(names):
        assert (other.bank.prompts[name].numpy() == number).all(), name


# keras: it copies a variable with `np.array`, of which NumPy complains.
@pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")
@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ({"glue/rte": 2}, "bank of a, glue/rte; this one is of glue/rte\\."),
        ({"glue/rte": 2, "b": 2}, "of a, glue/rte; this .* of glue/rte, b\\."),
        ({"glue/rte": 2, "a": 2, "b": 2}, "glue/rte; this .* glue/rte, a, b"),
        ({"glue/rte": 2, "a": 3}, r"'a' has shape \(2, 16\).* \(3, 16\) in"),
    ],
)
def test_saved_weights_of_another_bank_are_refused(
    tiny_model, tmp_path, lengths, message
):
    path = tmp_path / "bank.weights.h5"
    bank_of(tiny_model, "glue/rte", "a").save_weights(path)
    other = PromptBankT5(
        tiny_model.backbone, tiny_model.tokenizer, PromptBank(lengths)
    )
    before = {name: w.numpy() for name, w in other.bank.prompts.items()}
    with pytest.raises(ValueError, match=message):
        other.load_weights(path)
    for name, weight in other.bank.prompts.items():
        np.testing.assert_array_equal(weight, before[name])
