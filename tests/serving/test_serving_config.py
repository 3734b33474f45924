"""The files a TensorFlow Serving reads, and the verbs that go with them."""

import shlex
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)

pytest.importorskip("tensorflow_serving", reason="needs gRPC's stubs")

import stub_server
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from keras_prompt.cli import main as cli
from keras_prompt.export.serving_config import write_serving_config

pytestmark = pytest.mark.usefixtures("keep_stderr")


@pytest.fixture
def base(served, tmp_path):
    shutil.copytree(served.base.parent, tmp_path / "base")
    return tmp_path / "base"


def test_models_config_is_one_of_tensorflow_servings(base):
    written = write_serving_config(base, name="t5")
    config = text_format.Parse(
        written.models.read_text(), model_server_config_pb2.ModelServerConfig()
    )
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("t5", str(base))


def batching_parameters():
    """The message of session_bundle_config.proto, which no wheel brings."""
    file = descriptor_pb2.FileDescriptorProto(name="batching.proto")
    file.dependency.append("google/protobuf/wrappers.proto")
    message = file.message_type.add(name="BatchingParameters")
    field = descriptor_pb2.FieldDescriptorProto
    names = ("max_batch_size", "batch_timeout_micros")
    names += ("max_enqueued_batches", "num_batch_threads")
    for number, name in enumerate(names, start=1):
        message.field.add(
            name=name,
            number=number,
            label=field.LABEL_OPTIONAL,
            type=field.TYPE_MESSAGE,
            type_name=".google.protobuf.Int64Value",
        )
    message.field.add(
        name="pad_variable_length_inputs",
        number=7,
        label=field.LABEL_OPTIONAL,
        type=field.TYPE_BOOL,
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("BatchingParameters")
    )()


def test_batching_config_pads_rows_and_is_one_of_tensorflow_servings(base):
    written = write_serving_config(
        base, max_batch_size=16, batch_timeout_micros=5
    )
    config = text_format.Parse(
        written.batching.read_text(), batching_parameters()
    )
    assert config.pad_variable_length_inputs
    assert config.max_batch_size.value == 16
    assert config.batch_timeout_micros.value == 5


@pytest.mark.parametrize("takes_text", [False, True])
def test_every_warm_up_request_runs_and_every_signature_has_one(
    base, text_base, takes_text
):
    if takes_text:
        shutil.rmtree(base)
        shutil.copytree(text_base.parent, base)
    written = write_serving_config(base)
    model = stub_server.Model(base / "1")
    signatures = set()
    for record in tf.data.TFRecordDataset(str(written.warm_up)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        name = request.model_spec.signature_name
        assert "status" in model.predict("base", name, inputs)
        signatures.add(name)
    exported = tf.saved_model.load(str(base / "1")).signatures
    assert signatures == set(exported)
    assert ("generate_text" in signatures) == takes_text


def test_records_belong_to_the_newest_version(base):
    shutil.copytree(base / "1", base / "12")
    (base / "notes").mkdir()
    written = write_serving_config(base)
    assert written.warm_up.parts[-3] == "12"
    assert not (base / "1/assets.extra/tf_serving_warmup_requests").exists()


def test_another_base_of_the_same_folder_is_not_dropped(base, served):
    first = write_serving_config(base).models
    text = first.read_text()
    other = shutil.copytree(served.base.parent, base.parent / "other")
    with pytest.raises(ValueError, match=f"models.config serves {base}, and"):
        write_serving_config(other, name="other")
    assert first.read_text() == text
    assert not (other / "1/assets.extra/tf_serving_warmup_requests").exists()
    write_serving_config(base, name="renamed")
    assert 'name: "renamed"' in first.read_text()


def test_the_verb_prints_the_files_and_a_docker_line(base, served, capsys):
    assert cli.main(["serve-config", str(base)]) == 0
    *files, line = capsys.readouterr().out.splitlines()
    for file in files:
        subprocess.run(["test", "-s", file], check=True)
    assert line.startswith("docker run")
    assert f"-v {served.root}:{served.root}:ro" in line
    assert f"--model_config_file={base.parent}/models.config" in line


def test_a_path_with_a_space_is_one_word_of_the_line(served, tmp_path):
    base = tmp_path / "my models" / "base"
    shutil.copytree(served.base.parent, base)
    words = shlex.split(write_serving_config(base).command)
    mounts = [words[i + 1] for i, word in enumerate(words) if word == "-v"]
    assert mounts[0] == f"{base.parent}:{base.parent}:ro"
    assert f"--model_config_file={base.parent}/models.config" in words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no numbered version"),
        (["BASE/1"], "give the folder of the versions"),
        (["BASE", "--name", "a b"], "`name` must be letters"),
    ],
)
def test_what_cannot_be_configured_is_one_line(
    base, capsys, arguments, message
):
    arguments = [a.replace("BASE", str(base)) for a in arguments]
    assert cli.main(["serve-config", *arguments]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (base.parent / "models.config").exists()


@pytest.mark.parametrize("kind", ["grpc", "rest"])
def test_predict_asks_a_server(served, preset, capsys, kind):
    texts = ["a dull film", "the dog"]
    model = stub_server.Model(served.base)
    with getattr(stub_server, f"{kind}_server")(model) as address:
        ask = ["predict", "--server", address, "--preset", preset, *texts]
        ask += ["--input-length", "24"]
        assert cli.main([*ask, "--task", "dogs"]) == 0
        written = capsys.readouterr().out.splitlines()
        rank = ["--answer-by", "rank", "--label", "a", "--label", "positive"]
        code = cli.main([*ask[:5], "--task", "dogs", *rank, *texts])
        assert code == 0
        ranked = capsys.readouterr().out.splitlines()
        assert cli.main([*ask, "--task", "dogs", "--model", "films"]) == 1
        assert "Servable not found" in capsys.readouterr().err
        assert cli.main([*ask, "--task", "dogz"]) == 1
        err = capsys.readouterr().err
        assert "row 0: unknown task 'dogz'" in err
    alone = served.alone["dogs"]
    assert written == alone.generate(texts, max_length=6)
    best = alone.rank(texts, ["a", "positive"]).argmax(axis=1)
    assert ranked == np.array(["a", "positive"])[best].tolist()


def test_predict_needs_no_preset_where_the_server_takes_text(
    served, text_base, capsys
):
    texts = ["a dull film", "the dog"]
    with stub_server.rest_server(stub_server.Model(text_base)) as address:
        ask = ["predict", "--server", address, "--task", "dogs", *texts]
        assert cli.main(ask) == 0
    written = capsys.readouterr().out.splitlines()
    assert written == served.alone["dogs"].generate(texts, max_length=6)


def test_predict_says_what_a_server_without_text_wants(served, capsys):
    with stub_server.rest_server(stub_server.Model(served.base)) as address:
        ask = ["predict", "--server", address, "--task", "dogs", "the dog"]
        assert cli.main(ask) == 1
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert "for want of a tokenizer" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "t5_1_1_nano_lm"], "--server needs --task"),
        (
            ["--task", "x", "--preset", "p", "--answer-by", "rank"],
            "needs --label",
        ),
        (["--task", "x", "--input-length", "512"], "only with --preset"),
        (["--task", "x", "--target-length", "32"], "takes no --target-length"),
        (
            ["--task", "x", "--preset", "p", "--target-length", "5"],
            "takes no --target-length",
        ),
        (["--task", "x", "--dtype", "bfloat16"], "takes no --dtype"),
        (["--task", "x", "--label", "a"], "with --answer-by rank only"),
    ],
)
def test_predict_says_what_a_server_needs(capsys, arguments, message):
    code = cli.main(["predict", "--server", "host:1", "text", *arguments])
    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "x"], "--task goes with --server only"),
        (["--timeout", "5"], "--timeout goes with --server only"),
        (["--model", "x"], "--model goes with --server only"),
        (
            ["--answer-by", "rank", "--target-length", "5"],
            "with --answer-by generate only",
        ),
        (["--label", "a", "--label", "b"], "with --answer-by rank only"),
    ],
)
def test_predict_refuses_what_only_a_server_takes(capsys, arguments, message):
    ask = ["predict", "--preset", "t5_1_1_nano_lm", "text", *arguments]
    assert cli.main(ask) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1
