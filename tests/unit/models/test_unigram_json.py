"""tokenizer.json turned into a SentencePiece model, and what is refused."""

import json

import pytest
import tokenizers
from sentencepiece import sentencepiece_model_pb2 as sentencepiece_pb2

from keras_prompt.models.checkpoints.unigram_json import sentencepiece_model
from keras_prompt.tokenizer import Tokenizer

TEXTS = (
    "the film is a delight",
    "  two   spaces, and\ttabs\nand lines ",
    "ＦＵＬＬ width, ligature ﬁ, e\u0301 and \u00e9, \u200bzero width",
    "unknown: \u4e2d\u6587 \U0001f600 <x> \u2581 already",
    "",
    "x",
)


def unigram_json(model_proto):
    """What `transformers` writes for a T5 of that SentencePiece model."""
    import base64

    model = sentencepiece_pb2.ModelProto()
    model.ParseFromString(model_proto)
    vocabulary = [[piece.piece, piece.score] for piece in model.pieces]
    vocabulary += [[f"<extra_id_{i}>", 0.0] for i in reversed(range(100))]
    special = ("<pad>", "</s>", "<unk>")
    charsmap = base64.b64encode(model.normalizer_spec.precompiled_charsmap)
    return {
        "version": "1.0",
        "added_tokens": [
            {
                "id": index,
                "content": content,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for index, content in enumerate(special)
        ],
        "normalizer": {
            "type": "Precompiled",
            "precompiled_charsmap": charsmap.decode(),
        },
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "WhitespaceSplit"},
                {
                    "type": "Metaspace",
                    "replacement": "\u2581",
                    "prepend_scheme": "always",
                    "split": True,
                },
            ],
        },
        "model": {
            "type": "Unigram",
            "unk_id": 2,
            "vocab": vocabulary,
            "byte_fallback": False,
        },
    }


def assert_same_ids(path, texts):
    theirs = tokenizers.Tokenizer.from_file(str(path))
    ours = Tokenizer(sentencepiece_model(path))
    for text in texts:
        expected = theirs.encode(text, add_special_tokens=False).ids
        assert ours.encode(text) == expected, text
    return ours


@pytest.fixture
def path(tmp_path, tiny_tokenizer):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(unigram_json(tiny_tokenizer.model_proto)))
    return path


def test_ids_equal_tokenizers(path, tiny_tokenizer):
    ours = assert_same_ids(path, TEXTS)
    assert ours.vocabulary_size == tiny_tokenizer.vocabulary_size
    for text in TEXTS:
        assert ours.encode(text) == tiny_tokenizer.encode(text)
    last = ours.vocabulary_size - 1
    assert ours.encode("<extra_id_0>") == [last]


def test_ids_of_t5s_own_vocabulary_equal_tokenizers(tmp_path, shared_data):
    proto = (shared_data / "vocab" / "spiece.model").read_bytes()
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(unigram_json(proto)))
    lines = (shared_data / "glue/SST-2/dev.tsv").read_text().splitlines()
    rows = (shared_data / "fewglue/BoolQ/train.jsonl").read_text().splitlines()
    texts = [*TEXTS, *lines, *(json.loads(row)["passage"] for row in rows)]
    ours = assert_same_ids(path, texts)
    original = Tokenizer(proto)
    assert ours.vocabulary_size == original.vocabulary_size == 32_100
    for text in texts:
        assert ours.encode(text) == original.encode(text)


def set_at(values, path, value):
    *path, last = path
    for key in path:
        values = values[key]
    if value is None and last not in values:
        return
    values[last] = value


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("model",), ["Unigram"], "its model is no object"),
        (("model", "type"), "BPE", "no Unigram model"),
        (("model", "unk_id"), 0, "no Unigram model"),
        (("model", "byte_fallback"), True, "become bytes"),
        (("model", "vocab", 0), ["<s>", 0.0], "first pieces must be"),
        (("model", "vocab", -1), ["last", 0.0], "the 100 sentinels"),
        (("model", "vocab", 3), ["a", 0.1], "finer than SentencePiece"),
        (("normalizer",), None, "normalizer is not SentencePiece's"),
        (("normalizer",), {"type": "NFKC"}, "normalizer is not"),
        (
            ("pre_tokenizer", "pretokenizers", 0),
            {"type": "ByteLevel"},
            "pre-tokenizer has the steps",
        ),
        (
            ("pre_tokenizer", "pretokenizers", 1, "prepend_scheme"),
            "never",
            "begin every word",
        ),
        (("added_tokens", 0, "content"), "<city>", "added token '<city>'"),
    ],
)
def test_what_sentencepiece_does_otherwise_is_refused(
    path, place, value, message
):
    values = json.loads(path.read_text())
    set_at(values, place, value)
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=f"exactly: .*{message}"):
        sentencepiece_model(path)


def test_sentinels_inside_the_model_are_not_added_again(tiny_tokenizer):
    model = sentencepiece_pb2.ModelProto()
    model.ParseFromString(tiny_tokenizer.model_proto)
    for index in reversed(range(100)):  # as mT5's model holds them
        model.pieces.add(piece=f"\u2581<extra_id_{index}>", score=0.0, type=4)
    inside = Tokenizer(model.SerializeToString())
    assert inside.piece_count == tiny_tokenizer.piece_count
    assert inside.vocabulary_size == tiny_tokenizer.vocabulary_size
    for text in (*TEXTS, "a <extra_id_0> b <extra_id_99>"):
        assert inside.encode(text) == tiny_tokenizer.encode(text)
