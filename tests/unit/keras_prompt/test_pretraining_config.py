"""Settings of a pre-training run, and its record in the output folder."""

import dataclasses
import json

import pytest

from keras_prompt.training.config import TuneConfig
from keras_prompt.training.pretraining.config import PretrainConfig
from keras_prompt.training.pretraining.run import pretrain


@pytest.fixture
def config(tmp_path):
    """A run that has not begun, of texts that nothing here opens."""
    return PretrainConfig(
        texts=("corpus.txt",),
        output=str(tmp_path / "run"),
        vocabulary="vocabulary.model",
        steps=4,
        evaluate_every=2,
        batch_size=2,
        input_length=32,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 3}, "holds a run with batch_size=2"),
        ({"clip_norm": 1.0}, "clip_norm=None; this one has clip_norm=1.0"),
    ],
)
def test_another_run_s_folder_is_refused_and_left_as_it_is(
    config, tmp_path, change, message
):
    config.claim_output()
    before = (tmp_path / "run" / "run.json").read_text()
    with pytest.raises(ValueError, match=message):
        pretrain(dataclasses.replace(config, **change))
    assert (tmp_path / "run" / "run.json").read_text() == before


def test_a_record_of_before_a_setting_was_there_had_its_default(config):
    config.claim_output()
    path = config.check_output() / "run.json"
    old = json.loads(path.read_text())
    del old["micro_batches"], old["decay_steps"]
    path.write_text(json.dumps(old))
    config.claim_output()
    with pytest.raises(ValueError, match="micro_batches=1; this one has"):
        dataclasses.replace(config, micro_batches=2).claim_output()


def test_a_run_may_be_given_an_end_but_not_another_one(config):
    config.claim_output()
    end = dataclasses.replace(config, steps=8, decay_steps=4)
    end.claim_output()
    with pytest.raises(ValueError, match="steps=8; this one has steps=12"):
        dataclasses.replace(end, steps=12).claim_output()


def test_a_damaged_record_is_named(config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json is damaged"):
        pretrain(config)


def test_a_folder_of_a_tuning_run_is_refused(config, tmp_path):
    tuning = TuneConfig("task", "preset", str(tmp_path / "tuned"))
    tuning.claim_output()
    with pytest.raises(ValueError, match=r"a run of `keras-prompt tune`"):
        pretrain(dataclasses.replace(config, output=tuning.output))
    config.claim_output()
    with pytest.raises(ValueError, match=r"a run of `keras-prompt pretrain`"):
        dataclasses.replace(tuning, output=config.output).claim_output()


def test_a_model_that_no_run_made_is_not_replaced(config, tmp_path):
    model = tmp_path / "run" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"holds a model, and .* no run that"):
        pretrain(config)
    (model / "thesis.txt").write_text("all of it")
    with pytest.raises(ValueError, match=r"holds thesis\.txt besides"):
        pretrain(config)
    assert (model / "thesis.txt").read_text() == "all of it"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "`steps` must be a positive integer"),
        ({"steps": True}, "`steps` must be a positive integer"),
        ({"steps": 5}, "`steps` must be a multiple of evaluate_every=2"),
        ({"vocab_size": 0}, "`vocab_size` must be a positive integer"),
        ({"learning_rate": 0.0}, "`learning_rate` must be a positive number"),
        ({"clip_norm": -1.0}, "`clip_norm` must be a positive number"),
        ({"clip_norm": float("nan")}, "`clip_norm` must be a positive"),
        ({"decay_steps": 5}, "`decay_steps` must be from 0 to steps=4"),
        ({"micro_batches": 3}, "`micro_batches` must divide batch_size=2"),
        ({"dtype": "bfloat16"}, "`dtype` must be 'float32' or"),
        ({"objective": "lm"}, "`objective` must be 'span_corruption' or"),
        ({"seed": -1}, "`seed` must be an integer of at least 0"),
        ({"seed": 2**31}, "`seed` must be at most 2,147,483,647"),
        ({"input_length": 1}, "`input_length` must be at least 2"),
        ({"input_length": 2048}, "`input_length` must be at most 1809 for"),
        ({"texts": ()}, "`texts` must be a sequence of at least one"),
        ({"texts": "a.txt"}, "`texts` must be a sequence of at least one"),
        ({"vocabulary": None}, "Give one of `vocabulary`"),
        ({"base": "model"}, "Give one of `vocabulary`"),
        ({"train_vocabulary": 40}, "Give one of `vocabulary`"),
        (
            {"objective": "prefix_lm", "input_length": 31},
            "at least 2, and even for prefix_lm",
        ),
    ],
)
def test_wrong_settings_are_refused(config, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(config, **change)
