"""Prompts of other tools: read strictly, written whole, put into a model."""

import json
import os
import re

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from keras_prompt import initial_prompts
from keras_prompt.export.other_tools import (
    export_npy,
    export_peft,
    import_prompt,
)
from keras_prompt.export.prompt import export_prompt, load_prompt
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.presets import PRESETS
from keras_prompt.prompt_formats import formats, npy, peft

PROMPT = np.arange(48, dtype=np.float32).reshape(3, 16)
RELEASED = "prompt_tuning/pretrained_prompts/t5_1_1_lm100k_base"


def write_adapter(folder, table, **changes):
    """An adapter as PEFT leaves it for a T5: a table of 2 * P rows."""
    config = {
        "peft_type": "PROMPT_TUNING",
        "task_type": "SEQ_2_SEQ_LM",
        "num_virtual_tokens": 3,
        "num_transformer_submodules": 2,
        "token_dim": 16,
        "base_model_name_or_path": "google/t5-base-lm-adapt",
    }
    folder.mkdir(exist_ok=True)
    (folder / peft.CONFIG).write_text(json.dumps(config | changes))
    tensors = table if isinstance(table, dict) else {"prompt_embeddings": table}
    safetensors.numpy.save_file(tensors, folder / peft.WEIGHTS)
    return folder


def write_t5x(path, key="encoder"):
    import flax.serialization

    target = {key: {"prompt": {"prompt": {"prompt": PROMPT}}}}
    tree = {"version": 3, "optimizer": {"state": {}, "target": target}}
    path.write_bytes(flax.serialization.msgpack_serialize(tree))
    return path


@pytest.fixture(params=formats.FORMATS)
def stored(request, tiny_model, tmp_path):
    """The prompt in each format of the table, and the format's name."""
    tiny_model.prompt.embeddings.assign(PROMPT)
    path = tmp_path / "prompt"
    if request.param == "saved_model":
        export_prompt(tiny_model, path)
    elif request.param == "npy":
        np.save(path.with_suffix(".npy"), PROMPT)
        path = path.with_suffix(".npy")
    elif request.param == "peft":
        write_adapter(path, np.concatenate([PROMPT, -PROMPT]))
    else:
        write_t5x(path := tmp_path / "checkpoint_7")
    return path, request.param


def test_every_format_is_recognized_and_read_bit_equal(stored):
    path, name = stored
    found = formats.read(path)
    assert found.format == name
    assert found.prompt.dtype == np.float32
    np.testing.assert_array_equal(found.prompt, PROMPT)
    assert (found.card is not None) == (name == "saved_model")


def test_every_format_starts_a_prompt_and_goes_into_a_model(stored, tiny_model):
    path, _ = stored
    tiny_model.prompt.embeddings.assign(0 * PROMPT)
    import_prompt(tiny_model, path)
    np.testing.assert_array_equal(tiny_model.prompt.embeddings, PROMPT)
    tiny_model.prompt.embeddings.assign(0 * PROMPT)
    tiny_model.initialize_prompt(initial_prompts.from_file(path))
    np.testing.assert_array_equal(tiny_model.prompt.embeddings, PROMPT)


def test_an_imported_prompt_is_exported_with_this_models_fingerprint(
    tiny_model, tmp_path
):
    np.save(tmp_path / "p.npy", PROMPT)
    import_prompt(tiny_model, tmp_path / "p.npy")
    export_prompt(tiny_model, tmp_path / "exported")
    card = load_prompt(tiny_model, tmp_path / "exported")
    assert card.fingerprint == tiny_model.backbone.fingerprint()


def test_an_exported_prompt_of_another_base_is_not_imported(
    tiny_model, tmp_path
):
    export_prompt(tiny_model, tmp_path / "p")
    other = MeshT5Backbone(tiny_model.backbone.config, seed=4, preset="other")
    with pytest.raises(ValueError, match="tuned on tiny"):
        import_prompt(
            PromptTunedT5(other, tiny_model.tokenizer, 3), tmp_path / "p"
        )


@pytest.mark.parametrize(
    ("shape", "message"),
    [((4, 16), "prompt_length 4.* prompt_length 3"), ((3, 8), "d_model 8.*16")],
)
def test_another_shape_is_refused_and_the_model_is_as_it_was(
    tiny_model, tmp_path, shape, message
):
    before = tiny_model.prompt.embeddings.numpy().copy()
    np.save(tmp_path / "p.npy", np.ones(shape, np.float32))
    with pytest.raises(ValueError, match=message):
        import_prompt(tiny_model, tmp_path / "p.npy")
    np.testing.assert_array_equal(tiny_model.prompt.embeddings, before)


def test_npy_is_written_as_the_papers_code_does(tiny_model, tmp_path):
    size = export_npy(tiny_model, tmp_path / "p.npy", prompt=PROMPT)
    assert size == 4 * 3 * 16 + 128
    value = np.load(tmp_path / "p.npy")
    assert value.dtype == np.float32
    np.testing.assert_array_equal(value, PROMPT)


def test_an_adapter_is_written_without_rows_that_peft_never_uses(
    tiny_model, tmp_path
):
    size = export_peft(tiny_model, tmp_path / "a", prompt=PROMPT)
    weights = tmp_path / "a" / peft.WEIGHTS
    table = safetensors.numpy.load_file(weights)["prompt_embeddings"]
    np.testing.assert_array_equal(table, PROMPT)
    assert size < 4 * 3 * 16 + 1000
    config = tmp_path / "a" / peft.CONFIG
    assert weights.stat().st_mode == config.stat().st_mode
    np.testing.assert_array_equal(formats.read(tmp_path / "a").prompt, PROMPT)


def test_what_another_tool_left_is_replaced_and_nothing_else(
    tiny_model, tmp_path
):
    for export, name in ((export_npy, "p.npy"), (export_peft, "a")):
        export(tiny_model, tmp_path / name)
        export(tiny_model, tmp_path / name, prompt=PROMPT)
        found = formats.read(tmp_path / name).prompt
        np.testing.assert_array_equal(found, PROMPT)
    (tmp_path / "a" / "README.md").write_text("keep")
    with pytest.raises(ValueError, match=r"holds README\.md besides"):
        export_peft(tiny_model, tmp_path / "a")
    with pytest.raises(ValueError, match="holds no adapter"):
        export_peft(tiny_model, tmp_path / "p.npy")
    with pytest.raises(ValueError, match=r"ends in \.npy"):
        export_npy(tiny_model, tmp_path / "p")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        export_npy(tiny_model, tmp_path / "folder.npy")
    assert {p.name for p in tmp_path.iterdir()} == {"p.npy", "a", "folder.npy"}


def test_a_prompt_that_is_not_finite_is_not_written(tiny_model, tmp_path):
    bad = np.full((3, 16), np.nan, np.float32)
    for export, name in ((export_npy, "p.npy"), (export_peft, "a")):
        with pytest.raises(ValueError, match="not finite"):
            export(tiny_model, tmp_path / name, prompt=bad)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_adapter(tiny_model, tmp_path, monkeypatch):
    export_peft(tiny_model, tmp_path / "a", prompt=PROMPT)

    def full(*_, **__):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match=r"cannot be written.*No space left"):
        export_peft(tiny_model, tmp_path / "a", prompt=2 * PROMPT)
    np.testing.assert_array_equal(formats.read(tmp_path / "a").prompt, PROMPT)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float64, ml_dtypes.bfloat16], ids=str
)
def test_an_adapter_of_another_precision_becomes_float32(tmp_path, dtype):
    table = np.concatenate([PROMPT, PROMPT]).astype(dtype)
    found = formats.read(write_adapter(tmp_path / "a", table)).prompt
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, PROMPT)


TABLE = np.concatenate([PROMPT, PROMPT])


@pytest.mark.parametrize(
    ("table", "changes", "message"),
    [
        (TABLE, {"peft_type": "LORA"}, "`peft_type` 'PROMPT_TUNING'.*'LORA'"),
        (TABLE, {"task_type": "CAUSAL_LM"}, "a prompt for a T5.*'CAUSAL_LM'"),
        (TABLE, {"num_virtual_tokens": 6}, r"holds \(6, 16\).*\(2 \* 6, 16\)"),
        (TABLE, {"token_dim": 8}, r"\(2 \* 3, 8\)"),
        (TABLE, {"token_dim": None}, "positive integer `token_dim`"),
        (TABLE, {"num_transformer_submodules": 3}, "1 or 2"),
        (PROMPT, {}, r"holds \(3, 16\)"),
        ({"lora_A": TABLE}, {}, r"must hold 'prompt_embeddings'.*lora_A"),
        (
            {"prompt_embeddings": TABLE, "head": TABLE},
            {},
            "and nothing else",
        ),
        (np.full((6, 16), np.inf, np.float32), {}, "not finite"),
        (TABLE.astype(np.int32), {}, "a float array"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(
    tmp_path, table, changes, message
):
    folder = write_adapter(tmp_path / "a", table, **changes)
    with pytest.raises(ValueError, match=message):
        formats.read(folder)


def test_a_damaged_adapter_is_refused(tmp_path):
    folder = write_adapter(tmp_path / "a", TABLE)
    weights = folder / peft.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(ValueError, match="not a complete safetensors"):
        formats.read(folder)
    for text in ("{", "[]", "[" * 100_000):
        (folder / peft.CONFIG).write_text(text)
        with pytest.raises(ValueError, match="no adapter's settings"):
            formats.read(folder)
    (folder / peft.CONFIG).unlink()
    with pytest.raises(FileNotFoundError, match=r"no adapter_config\.json"):
        formats.read(folder)


def test_pickles_are_refused_with_what_to_do(tmp_path):
    folder = write_adapter(tmp_path / "a", TABLE)
    (folder / peft.WEIGHTS).rename(folder / peft.PICKLED)
    with pytest.raises(ValueError, match=r"is a pickle.*save_pretrained"):
        formats.read(folder)
    (tmp_path / "prompt.pt").write_bytes(b"\x80\x04")
    with pytest.raises(ValueError, match=r"like a pickle.*as \.npy"):
        formats.read(tmp_path / "prompt.pt")


def test_what_is_no_prompt_is_refused_with_a_hint(tmp_path, tiny_model):
    with pytest.raises(FileNotFoundError, match="No prompt at"):
        formats.read(tmp_path / "absent")
    with pytest.raises(ValueError, match="holds no prompt, which is one of"):
        formats.read(tmp_path)
    np.save(tmp_path / "mrpc.npy", PROMPT)
    with pytest.raises(ValueError, match=r"name one file.*mrpc\.npy"):
        formats.read(tmp_path)
    export_prompt(tiny_model, tmp_path / "prompt")
    with pytest.raises(ValueError, match=r"name the prompt's own: .*/prompt\."):
        formats.read(tmp_path)
    write_adapter(tmp_path / "prompt", TABLE)
    with pytest.raises(
        ValueError, match=r"several formats \(saved_model, peft"
    ):
        formats.read(tmp_path / "prompt")
    write_t5x(tmp_path / "checkpoint_3", "decoder")
    with pytest.raises(ValueError, match="must have one prompt"):
        formats.read(tmp_path / "checkpoint_3")


def test_bytes_after_an_array_are_refused(tmp_path):
    np.save(tmp_path / "p.npy", PROMPT)
    with (tmp_path / "p.npy").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ValueError, match="4 bytes after its array"):
        formats.read(tmp_path / "p.npy")


@pytest.mark.parametrize(
    "shape", ["(3, 16", "(-3, 16)", f"({10**24}, 16)", "(3, True)"]
)
def test_an_array_with_a_damaged_header_is_named(tmp_path, shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}"
    header += "\n" if shape == "(3, 16" else ", }\n"
    begin = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
    place = tmp_path / "p.npy"
    place.write_bytes(begin + header.encode() + PROMPT.tobytes())
    with pytest.raises(ValueError, match=rf"^{re.escape(str(place))} is not a"):
        formats.read(place)


def test_an_array_without_its_suffix_is_known_by_its_first_bytes(tmp_path):
    np.save(tmp_path / "p.npy", PROMPT)
    place = tmp_path / "encoder.prompt.prompt.prompt"
    (tmp_path / "p.npy").rename(place)
    assert npy.recognizes(place)
    np.testing.assert_array_equal(formats.read(place).prompt, PROMPT)


@pytest.mark.parametrize("name", ["sst2", "mrpc", "rte"])
def test_the_released_prompts_go_into_a_model_of_base_width(
    shared_data, tiny_tokenizer, name
):
    base = PRESETS["t5_1_1_base_lm100k"].config
    vocabulary = tiny_tokenizer.vocabulary_size
    config = T5Config(vocabulary, base.d_model, 4, 8, 1, 1, 1)
    model = PromptTunedT5(MeshT5Backbone(config), tiny_tokenizer, 100)
    import_prompt(model, shared_data / RELEASED / f"{name}.npy")
    assert np.isfinite(model.score(["the film"], ["positive"])).all()


@pytest.mark.slow
def test_a_released_prompt_goes_into_a_model_of_base_size(
    shared_data, tiny_tokenizer
):
    config = PRESETS["t5_1_1_base_lm100k"].config
    backbone = MeshT5Backbone(config, weights=_ZeroWeights(config))
    model = PromptTunedT5(backbone, tiny_tokenizer, 100)
    import_prompt(model, shared_data / RELEASED / "mrpc.npy")
    prompt = model.prompt.embeddings.numpy()
    assert prompt.shape == (100, 768)
    assert f"{np.sqrt(np.mean(np.square(prompt))):.1f}" == "32.3"


class _ZeroWeights:
    """Weights of a config, quick to make."""

    def __init__(self, config):
        from keras_prompt.models.t5.variables import weight_table

        self._table = weight_table(config)

    def __call__(self, name):
        return np.zeros([size for _, size in self._table[name]], np.float32)
