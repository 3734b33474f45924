"""Pre-training runs: what they leave, resume and refuse."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
from tensorflow.core.util import event_pb2

from keras_prompt.models.checkpoints import formats, hugging_face
from keras_prompt.tasks.documents import document_source
from keras_prompt.tasks.text_corpus import tokenize
from keras_prompt.tasks.word_vectors import word_vectors
from keras_prompt.training.pretraining import run as run_module
from keras_prompt.training.pretraining.config import PretrainConfig
from keras_prompt.training.pretraining.run import pretrain

SIZES = {
    "d_model": 8,
    "d_kv": 4,
    "d_ff": 8,
    "num_heads": 2,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, tiny_tokenizer):
    """A folder with texts and a vocabulary."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "corpus.txt").write_text(
        "\n\n".join(f"the film {i} is a delight " * 20 for i in range(300))
    )
    tiny_tokenizer.save(folder / "vocabulary.model")
    return folder


def settings(inputs, output):
    """Four steps, validated twice."""
    return PretrainConfig(
        texts=(str(inputs / "corpus.txt"),),
        output=str(output),
        vocabulary=str(inputs / "vocabulary.model"),
        **SIZES,
        steps=4,
        evaluate_every=2,
        batch_size=2,
        input_length=32,
        warmup_steps=100,
        dtype="float32",
    )


@pytest.fixture
def config(inputs, tmp_path):
    """A run that has not begun."""
    return settings(inputs, tmp_path / "run")


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    """The folder of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    pretrain(settings(inputs, folder))
    return folder


@pytest.fixture
def finished(whole, config):
    """The settings of a run that has finished."""
    shutil.copytree(whole, config.output)
    return config


def same_checkpoint(config, whole):
    name = "checkpoint.safetensors"
    return (Path(config.output) / name).read_bytes() == (
        whole / name
    ).read_bytes()


def scalars(folder):
    """The tags, and their steps, of TensorBoard's files."""
    found = {}
    for path in folder.rglob("*tfevents*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = event_pb2.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                tag = f"{path.parent.name}/{value.tag}"
                found.setdefault(tag, []).append(event.step)
    return found


def test_a_run_leaves_a_model_its_record_and_tensorboard_scalars(whole):
    folder = whole
    result = json.loads((folder / "model" / "training.json").read_text())
    assert result["steps"] == 4
    # 34 tokens make 32 of input and 8 of target; 2 rows a step.
    assert result["tokens"] == 4 * 2 * (32 + 8)
    with (folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4"]
    assert float(rows[-1]["val_loss"]) == result["val_loss"]
    checkpoint = hugging_face.read(folder / "model")
    stored = safetensors.numpy.load_file(folder / "checkpoint.safetensors")
    np.testing.assert_allclose(
        checkpoint.weights("shared/embedding"),
        stored["weights/shared.embedding"],
        rtol=2**-8,
    )
    assert scalars(folder / "tensorboard") == {
        "train/loss": [2, 4],
        "train/learning_rate": [2, 4],
        "validation/loss": [2, 4],
    }


def test_a_finished_run_again_says_the_same_and_trains_nothing(finished):
    model = Path(finished.output) / "model"
    first = json.loads((model / "training.json").read_text())
    weights = (model / "model.safetensors").read_bytes()
    assert pretrain(finished) == first
    assert (model / "model.safetensors").read_bytes() == weights


def test_more_steps_continue_a_run_as_if_never_stopped(config, whole):
    pretrain(dataclasses.replace(config, steps=2))
    result = pretrain(config)
    assert same_checkpoint(config, whole)
    expected = json.loads((whole / "model" / "training.json").read_text())
    for name in ("loss", "val_loss"):
        assert result[name] == expected[name]


def test_fewer_steps_than_are_done_are_refused(finished):
    with pytest.raises(ValueError, match="`steps` must not be less than the 4"):
        pretrain(dataclasses.replace(finished, steps=2))


@pytest.mark.parametrize("format", ["hugging_face", "mesh_tensorflow"])
def test_adaptation_starts_from_the_base_and_brings_its_vocabulary(
    config, whole, tiny_tokenizer, tmp_path, format
):
    formats.convert(whole / "model", tmp_path / "base", format)
    adaptation = dataclasses.replace(
        config,
        base=str(tmp_path / "base"),
        vocabulary=None,
        objective="prefix_lm",
        learning_rate=1e-9,
    )
    result = pretrain(adaptation)
    # Inputs and targets of prefix LM are equally long.
    assert result["tokens"] == 4 * 2 * (32 + 32)
    base = hugging_face.read(whole / "model")
    adapted = hugging_face.read(Path(config.output) / "model")
    assert adapted.vocabulary == tiny_tokenizer.model_proto
    np.testing.assert_allclose(
        adapted.weights("shared/embedding").astype(np.float32),
        base.weights("shared/embedding").astype(np.float32),
        rtol=2**-7,
    )


def test_from_text_files_to_a_model_with_a_vocabulary_of_its_own(
    config, tmp_path
):
    own = dataclasses.replace(config, vocabulary=None, train_vocabulary=40)
    pretrain(own)
    model = hugging_face.read(tmp_path / "run" / "model")
    vocabulary = (tmp_path / "run" / "spiece.model").read_bytes()
    assert model.vocabulary == vocabulary
    # 40 pieces and 100 sentinels, up to a multiple of 64.
    assert model.config.vocab_size == 192


def test_losses_fall(config):
    result = pretrain(
        dataclasses.replace(config, steps=40, warmup_steps=10, batch_size=8)
    )
    with open(f"{config.output}/history.csv", newline="") as file:
        first = float(next(csv.DictReader(file))["val_loss"])
    assert result["val_loss"] < first - 0.5


def test_an_end_that_would_have_begun_already_is_refused(finished):
    for steps in (4, 6):
        end = dataclasses.replace(finished, steps=steps, decay_steps=3)
        with pytest.raises(ValueError, match=r"at most the \d steps that are"):
            pretrain(end)
    assert finished.recorded()["decay_steps"] == 0


def test_a_run_continues_into_an_end(finished):
    result = pretrain(dataclasses.replace(finished, steps=6, decay_steps=2))
    assert result["steps"] == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"texts": ("absent.txt",)}, r"No text file at absent\.txt"),
        ({"vocabulary": "absent.model"}, r"No vocabulary at absent\.model"),
        ({"base": "absent", "vocabulary": None}, r"No checkpoint at .*absent"),
        ({"vocab_size": 64}, "`vocab_size` must be at least the vocabulary's"),
    ],
)
def test_what_cannot_work_leaves_no_folder(config, tmp_path, change, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        pretrain(dataclasses.replace(config, **change))
    assert not (tmp_path / "run").exists()


def test_an_interrupt_between_validations_resumes_to_the_same_weights(
    config, whole, monkeypatch
):
    original = run_module.PretrainingLog.on_train_batch_end

    def interrupt(self, batch, logs=None):
        original(self, batch, logs)
        if self._step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(
            run_module.PretrainingLog, "on_train_batch_end", interrupt
        )
        with pytest.raises(KeyboardInterrupt):
            pretrain(config)
    pretrain(config)
    assert same_checkpoint(config, whole)


def test_rows_past_the_checkpoint_are_written_again_once(config, whole):
    pretrain(dataclasses.replace(config, steps=2))
    # As after a kill between the last row and its checkpoint.
    history = Path(config.output) / "history.csv"
    shutil.copy(whole / "history.csv", history)
    pretrain(config)
    with history.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["step"] for row in found] == ["2", "4"]
    seconds = [float(row["seconds"]) for row in found]
    assert seconds == sorted(seconds)


@pytest.fixture
def starts(monkeypatch):
    """The embeddings that runs begin with, in turn."""
    seen = []
    start = run_module.start_embeddings

    def watched(backbone, vectors):
        seen.append(np.array(backbone.embedding_table()))
        start(backbone, vectors)
        seen.append(np.array(backbone.embedding_table()))

    monkeypatch.setattr(run_module, "start_embeddings", watched)
    return seen


def test_pieces_of_the_texts_start_from_their_neighbours(
    config, tiny_tokenizer, tmp_path, starts
):
    pretrain(dataclasses.replace(config, embeddings="cooccurrence"))
    before, after = starts
    corpus = tokenize(
        [document_source(config.texts[0])], tiny_tokenizer, tmp_path / "again"
    )
    vectors = word_vectors(corpus, tiny_tokenizer.vocabulary_size, 8)
    known = sorted(vectors)
    assert 0 < len(known) < tiny_tokenizer.vocabulary_size
    np.testing.assert_array_equal(after[known], [vectors[i] for i in known])
    others = np.setdiff1d(np.arange(len(before)), known)
    np.testing.assert_array_equal(after[others], before[others])


def test_a_run_that_goes_on_keeps_what_it_has_learnt(config, starts):
    config = dataclasses.replace(config, embeddings="cooccurrence")
    pretrain(dataclasses.replace(config, steps=2))
    pretrain(config)
    assert len(starts) == 2  # of the first run alone


def test_an_adaptation_has_the_base_s_embeddings(config):
    with pytest.raises(ValueError, match="without a base, 'cooccurrence'"):
        dataclasses.replace(
            config,
            vocabulary=None,
            base="x",
            objective="prefix_lm",
            embeddings="cooccurrence",
        )
    with pytest.raises(ValueError, match="embeddings='glove'"):
        dataclasses.replace(config, embeddings="glove")
