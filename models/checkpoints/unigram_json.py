"""A SentencePiece model out of the tokenizer.json of a T5.

`tokenizers` splits at white space, puts a `▁` before every word and searches
the likeliest pieces, which is what SentencePiece does with a dummy prefix and
extra white space removed. Where a file asks for anything else, it is refused:
an id that differs in one text in a thousand would go unnoticed. Only texts
that spell a special piece, `<pad>`, differ: SentencePiece reads them as text.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece.sentencepiece_model_pb2 as pb2

from keras_prompt.models.checkpoints.checkpoint import (
    T5_VOCABULARY,
    read_json,
)

_SPACE = "\u2581"
_SENTINEL = re.compile(_SPACE + r"?<extra_id_\d+>")
_SPECIAL = ("<pad>", "</s>", "<unk>")
_CONTROL, _UNKNOWN, _NORMAL = 3, 2, 1  # ModelProto.SentencePiece.Type


def sentencepiece_model(path: Path) -> bytes:
    """The serialized model.

    Raises:
        ValueError: the file is damaged, or no SentencePiece model gives the
            same ids.
    """
    values = read_json(path)
    try:
        pieces = _pieces(values)
        charsmap = _charsmap(values.get("normalizer"))
        _check_pre_tokenizer(values["pre_tokenizer"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be turned into a SentencePiece model exactly: "
            f"{error}. Put the model's own spiece.model beside it; T5's is "
            f"published at {T5_VOCABULARY}."
        ) from error
    model = pb2.ModelProto()
    for index, (piece, score) in enumerate(pieces):
        kind = _NORMAL
        if index < len(_SPECIAL):
            kind = _UNKNOWN if piece == "<unk>" else _CONTROL
        model.pieces.add(piece=piece, score=score, type=kind)
    trainer = model.trainer_spec
    trainer.model_type = trainer.UNIGRAM
    trainer.vocab_size = len(pieces)
    trainer.pad_id, trainer.eos_id, trainer.unk_id = 0, 1, 2
    trainer.bos_id = -1
    trainer.pad_piece, trainer.eos_piece, trainer.unk_piece = _SPECIAL
    normalizer = model.normalizer_spec
    normalizer.name = "nmt_nfkc"
    normalizer.precompiled_charsmap = charsmap
    normalizer.add_dummy_prefix = True
    normalizer.remove_extra_whitespaces = True
    normalizer.escape_whitespaces = True
    return model.SerializeToString()


def _pieces(values: Mapping[str, Any]) -> Sequence[tuple[str, float]]:
    model = values["model"]
    if not isinstance(model, dict):
        raise ValueError("its model is no object")
    if model.get("type") != "Unigram" or model.get("unk_id") != 2:
        raise ValueError(
            "it is no Unigram model with the unknown piece at id 2"
        )
    if model.get("byte_fallback"):
        raise ValueError("unknown characters become bytes")
    vocabulary = [(str(piece), float(score)) for piece, score in model["vocab"]]
    if tuple(piece for piece, _ in vocabulary[:3]) != _SPECIAL:
        raise ValueError(f"its first pieces must be {_SPECIAL}")
    for token in values.get("added_tokens", ()):
        content = token["content"]
        if content not in _SPECIAL and not _SENTINEL.fullmatch(content):
            raise ValueError(f"it has the added token {content!r}")
    scores = np.array([score for _, score in vocabulary])
    if (scores != scores.astype(np.float32)).any():
        raise ValueError("its scores are finer than SentencePiece stores")
    sentinels = [
        index
        for index, (piece, _) in enumerate(vocabulary)
        if _SENTINEL.fullmatch(piece)
    ]
    # T5's own model holds no sentinels; `Tokenizer` puts them after it.
    end = sentinels[0] if sentinels else len(vocabulary)
    wanted = [f"<extra_id_{i}>" for i in reversed(range(100))]
    found = [piece.removeprefix(_SPACE) for piece, _ in vocabulary[end:]]
    if found and found != wanted:
        raise ValueError("its last pieces must be the 100 sentinels")
    return vocabulary[:end]


def _charsmap(normalizer: Mapping[str, Any] | None) -> bytes:
    """SentencePiece's table of replacements, which must be there.

    Without one `tokenizers` still splits at every white space character, and
    SentencePiece only at the space.
    """
    steps = [] if normalizer is None else [normalizer]
    if normalizer is not None and normalizer["type"] == "Sequence":
        steps = normalizer["normalizers"]
    if [step["type"] for step in steps[:1]] != ["Precompiled"]:
        raise ValueError("its normalizer is not SentencePiece's")
    for step in steps[1:]:
        # Runs of spaces become one: SentencePiece's removal of extra ones.
        if step.get("pattern") != {"Regex": " {2,}"} or step.get(
            "content"
        ) not in (" ", _SPACE):
            raise ValueError(f"its normalizer has the step {step}")
    return base64.b64decode(steps[0]["precompiled_charsmap"], validate=True)


def _check_pre_tokenizer(pre_tokenizer: Mapping[str, Any]) -> None:
    steps = [pre_tokenizer]
    if pre_tokenizer["type"] == "Sequence":
        steps = pre_tokenizer["pretokenizers"]
    names = [step["type"] for step in steps]
    if names not in (["WhitespaceSplit", "Metaspace"], ["Metaspace"]):
        raise ValueError(f"its pre-tokenizer has the steps {names}")
    metaspace = steps[-1]
    is_prefixed = (
        metaspace.get("prepend_scheme", "always") == "always"
        and metaspace.get("add_prefix_space", True)
        and metaspace.get("split", True)
    )
    if metaspace["replacement"] != _SPACE or not is_prefixed:
        raise ValueError("its pre-tokenizer does not begin every word with ▁")
