"""Signatures of text: an option, and the same answers as those of ids."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import served as outside
import tensorflow as tf
import tensorflow_text
from asked import (
    TARGETS,
    TASKS,
    TEXTS,
    call,
    decoded,
    request,
    scored_alone,
    with_prompts,
    written_alone,
)
from tensorflow.core.protobuf import saved_model_pb2

from keras_prompt.export.assemble import assemble_release
from keras_prompt.export.graph_text import GraphText
from keras_prompt.export.server import export_server, read_server_card
from keras_prompt.models.text_batches import pad_rows

_OPS = Path(tensorflow_text.__file__).parent / (
    "python/ops/_sentencepiece_tokenizer.so"
)


@pytest.fixture(scope="module")
def text_signatures(text_base):
    return tf.saved_model.load(str(text_base)).signatures


def strings(texts):
    values = [t if isinstance(t, bytes) else t.encode() for t in texts]
    return np.array(values, dtype=object)


def texts_request(texts=TEXTS, tasks=TASKS):
    return {"task": np.array(tasks, np.bytes_), "text": strings(texts)}


def texts_scored(targets=TARGETS):
    words = np.repeat(np.array([targets], np.bytes_), len(TEXTS), axis=0)
    return texts_request() | {"target_text": words}


def texts_with_prompts(served):
    inputs = with_prompts(served)
    names = ("prompt", "prompt_lengths")
    return {name: inputs[name] for name in names} | {"text": strings(TEXTS)}


def assert_right(served, name, found):
    assert found["status"].tolist() == [b"ok"] * 4
    if name == "score_text":
        expected = scored_alone(served)
        np.testing.assert_allclose(found["scores"], expected, 1e-5, 1e-5)
    else:
        written = [text.decode() for text in found["output_text"].tolist()]
        assert written == written_alone(served)


def requests(served):
    return {
        "generate_text": texts_request(),
        "with_prompt_text": texts_with_prompts(served),
        "score_text": texts_scored(),
    }


def test_every_row_gets_what_its_prompt_alone_would_answer(
    served, text_base, text_signatures
):
    assert read_server_card(text_base).takes_text
    for name, inputs in requests(served).items():
        assert_right(served, name, call(text_signatures, name, inputs))


def test_a_text_and_its_ids_get_the_same_answer_to_the_bit(
    served, text_signatures
):
    texts = ["  a dull film ", "<extra_id_0> dog<extra_id_41>", "naïve 電影 \0"]
    tasks = ["films", "dogs", "films"]
    inputs = texts_request(texts, tasks)
    of_ids = request(served, texts, tasks)
    found = call(text_signatures, "generate_text", inputs)
    expected = call(text_signatures, "generate", of_ids)
    written = [text.decode() for text in found["output_text"].tolist()]
    assert written == decoded(served, expected["output_ids"])
    words = ["positive", "<extra_id_0> a dog"]
    rows = served.alone["films"].target_rows(words)
    of_ids["target_ids"] = np.repeat(pad_rows(rows)[None], 3, axis=0)
    lengths = np.array([[len(row) for row in rows]], np.int32)
    of_ids["target_lengths"] = np.repeat(lengths, 3, axis=0)
    inputs["target_text"] = np.array([words] * 3, np.bytes_)
    found = call(text_signatures, "score_text", inputs)
    expected = call(text_signatures, "score", of_ids)
    np.testing.assert_array_equal(found["scores"], expected["scores"])
    assert found["status"].tolist() == [b"ok"] * 3


def test_ids_and_texts_are_the_tokenizers(tiny_tokenizer):
    """Sentinels, runs of them, unknown pieces, ids above the vocabulary."""
    text = GraphText(tiny_tokenizer)
    parts = ["dog", " ", "\t", "<extra_id_0>", "<extra_id_99>", "<extra_id_٣>"]
    parts += ["<extra_id_100>", "</s>", "é", "\ufeff", "\u2581", "\u3000", ""]
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(parts, 6)) for _ in range(300)]
    rows = text.rows(tf.constant([text.encode() for text in texts]))
    lengths = rows.lengths.numpy()
    for row, length, value in zip(rows.token_ids, lengths, texts, strict=True):
        ids = tiny_tokenizer.encode(value)
        assert row.numpy().tolist()[:length] == (ids and [*ids, 1])
    size = tiny_tokenizer.vocabulary_size
    special = [0, 1, 2, size - 100, size - 1, size, size + 3]
    ids = rng.choice([*special, *range(3, 20)], (300, 9)).astype(np.int32)
    written = [value.decode() for value in text.decode(ids).numpy()]
    assert written == [tiny_tokenizer.decode(row) for row in ids]
    assert text.decode(np.full((2, 3), 5, np.int32)).shape == (2,)


def test_bad_rows_have_a_status_and_touch_no_neighbour(text_signatures):
    inputs = texts_scored()
    good = call(text_signatures, "score_text", inputs)["scores"]
    for words, status in (
        (b"", b"empty input"),
        (b" \t ", b"empty input"),
        (b"a dog " * 24, b"input longer than 24 tokens"),
        (b"a dog \xff", b"the input is no UTF-8 text"),
    ):
        texts = strings(TEXTS)
        texts[1] = words
        for name in ("generate_text", "score_text"):
            given = inputs | {"text": texts}
            if name == "generate_text":
                del given["target_text"]
            found = call(text_signatures, name, given)
            assert found["status"].tolist() == [b"ok", status, b"ok", b"ok"]
        np.testing.assert_allclose(
            found["scores"][[0, 2, 3]], good[[0, 2, 3]], 1e-5
        )
        assert (found["scores"][1] == 0).all()
    words = inputs["target_text"].astype(object)
    words[0, 1], words[3, 0] = b"", b"\xc3"
    tasks = np.array(["films", "dogz", "../dogs", "films"], np.bytes_)
    given = inputs | {"target_text": words, "task": tasks}
    found = call(text_signatures, "score_text", given)
    assert found["status"].tolist() == [
        b"empty target",
        b"unknown task 'dogz'",
        b"invalid task name",
        b"a target is no UTF-8 text",
    ]


def test_no_targets_are_no_scores(text_signatures):
    inputs = texts_request() | {"target_text": np.zeros((4, 0), np.bytes_)}
    found = call(text_signatures, "score_text", inputs)
    assert found["scores"].shape == (4, 0)
    assert found["status"].tolist() == [b"ok"] * 4


def test_a_release_takes_text(served, text_base, tmp_path):
    first = served.alone["films"]
    base = tmp_path / "base"
    export_server(
        first.backbone,
        base,
        None,
        input_length=24,
        max_length=6,
        tokenizer=first.tokenizer,
    )
    prompts = [served.root / "films", served.root / "dogs"]
    assemble_release(base, tmp_path / "1", prompts)
    signatures = tf.saved_model.load(str(tmp_path / "1")).signatures
    for name, inputs in requests(served).items():
        assert_right(served, name, call(signatures, name, inputs))


def ops_of(folder):
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((folder / "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0].graph_def
    functions = [f.node_def for f in graph.library.function]
    return {node.op for nodes in [graph.node, *functions] for node in nodes}


def test_without_the_option_there_is_no_custom_op(served, text_base):
    custom = {op for op in ops_of(text_base) if op.startswith("Sentencepiece")}
    assert "SentencepieceOp" in custom
    assert not custom & ops_of(served.base)
    assert not read_server_card(served.base).takes_text


@pytest.mark.slow
def test_a_process_with_tensorflow_and_its_text_ops_runs_them(
    served, text_base, tmp_path
):
    for name, inputs in requests(served).items():
        if "text" in inputs:  # np.savez takes no objects
            inputs["text"] = inputs["text"].astype(np.bytes_)
        found = outside.run_in_bare_python(
            text_base, name, inputs, tmp_path, "tensorflow_text"
        )
        assert_right(served, name, found)
    with pytest.raises(RuntimeError, match="Sentencepiece"):
        outside.run_in_bare_python(text_base, name, inputs, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
def test_a_c_program_runs_them_once_it_has_the_ops(served, text_base, tmp_path):
    program = outside.compile_loader(tmp_path)
    for name, inputs in requests(served).items():
        found = outside.run_in_c(program, text_base, name, inputs, _OPS)
        assert_right(served, name, found)
    # Without the ops nothing of such an export loads, ids or not.
    with pytest.raises(RuntimeError, match="Op type not registered 'Sentence"):
        outside.run_in_c(program, text_base, "generate", request(served))


def test_a_tokenizer_of_another_model_is_refused(served, tmp_path):
    backbone = served.alone["films"].backbone

    class Larger:
        vocabulary_size = backbone.config.vocab_size + 1

    with pytest.raises(ValueError, match="Give the backbone's own"):
        export_server(backbone, tmp_path / "1", "prompts", tokenizer=Larger())
    assert not list(tmp_path.iterdir())
