"""Checkpoints between `transformers` and this package, as a user has them."""

import re
import subprocess
import sys

import numpy as np
import pytest
from oracles.mesh_tensorflow_files import stored_weights, write_step
from oracles.users_model import CASES, assert_equal

from keras_prompt.models.checkpoints import formats, hugging_face

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def transformers(torch):
    return pytest.importorskip("transformers")


def make(transformers, torch, config, family="T5"):
    """A random model of `transformers`' own, its output layer apart."""
    torch.manual_seed(0)
    values = {
        "vocab_size": config.vocab_size,
        "d_model": config.d_model,
        "d_kv": config.d_kv,
        "d_ff": config.d_ff,
        "num_heads": config.num_heads,
        "num_layers": config.num_encoder_layers,
        "feed_forward_proj": config.feed_forward,
        "tie_word_embeddings": config.is_tied,
        "initializer_factor": 3.0,
    }
    settings = getattr(transformers, f"{family}Config")(**values)
    model = getattr(transformers, f"{family}ForConditionalGeneration")(settings)
    if not config.is_tied:
        shape = (config.vocab_size, config.d_model)
        model.lm_head.weight = torch.nn.Parameter(torch.randn(shape))
    return model.eval()


def logits_of(torch, model):
    def logits(ids, decoder_ids):
        with torch.no_grad():
            return model(
                input_ids=torch.tensor(ids).long(),
                decoder_input_ids=torch.tensor(decoder_ids).long(),
            ).logits.float()

    return logits


def save_tokenizer(transformers, tokenizer, folder):
    """tokenizer.json alone, as version 5 saves a T5's tokenizer."""
    tokenizer.save(folder / "spiece.model")
    auto = transformers.T5Tokenizer.from_pretrained(folder)
    (folder / "spiece.model").unlink()
    auto.save_pretrained(folder)
    assert (folder / "tokenizer.json").is_file()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("family", ["T5", "MT5"])
@pytest.mark.parametrize("shard", ["10KB", "5GB"])
def test_a_model_that_transformers_saved_computes_the_same(
    transformers, torch, tmp_path, tiny_tokenizer, name, family, shard
):
    config = CASES[name].config
    if family == "MT5" and config.is_tied:
        pytest.skip("there is no mT5 of version 1.0")
    model = make(transformers, torch, config, family)
    model.save_pretrained(tmp_path, max_shard_size=shard)
    save_tokenizer(transformers, tiny_tokenizer, tmp_path)
    is_sharded = (tmp_path / "model.safetensors.index.json").is_file()
    assert is_sharded == (shard == "10KB")
    assert_equal(tmp_path, tiny_tokenizer, logits_of(torch, model))


def test_a_fresh_t5_1_1_of_transformers_5_computes_the_same(
    transformers, torch, tmp_path, tiny_tokenizer
):
    # It shares the output layer with the table, unscaled, and stores one.
    config = CASES["users_1_1"].config
    model = make(transformers, torch, config)
    model.lm_head.weight = model.shared.weight
    model.save_pretrained(tmp_path)
    save_tokenizer(transformers, tiny_tokenizer, tmp_path)
    assert_equal(tmp_path, tiny_tokenizer, logits_of(torch, model))


def test_bfloat16_is_read_as_transformers_reads_it(
    transformers, torch, tmp_path, tiny_tokenizer
):
    model = make(transformers, torch, CASES["users_1_1"].config)
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    save_tokenizer(transformers, tiny_tokenizer, tmp_path)
    assert formats.read(tmp_path).dtype == "bfloat16"
    model = transformers.T5ForConditionalGeneration.from_pretrained(
        tmp_path, dtype=torch.float32
    )
    assert_equal(tmp_path, tiny_tokenizer, logits_of(torch, model.eval()))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("shard_bytes", [10_000, hugging_face.SHARD_BYTES])
def test_a_folder_written_here_computes_the_same_there(
    transformers, torch, tmp_path, tiny_tokenizer, name, shard_bytes
):
    case = CASES[name]
    hugging_face.write(
        tmp_path / "m",
        case.config,
        case.weights().__getitem__,
        tiny_tokenizer.model_proto,
        shard_bytes=shard_bytes,
    )
    model = transformers.T5ForConditionalGeneration.from_pretrained(
        tmp_path / "m"
    )
    assert_equal(tmp_path / "m", tiny_tokenizer, logits_of(torch, model.eval()))


@pytest.mark.parametrize("name", CASES)
def test_mesh_tensorflows_files_convert_for_transformers(
    transformers, torch, tmp_path, tiny_tokenizer, name
):
    case = CASES[name]
    stored = stored_weights(case.weights(), norms="rms_norm")
    path = write_step(tmp_path / "mesh", stored)
    tiny_tokenizer.save(path.parent / "spiece.model")
    formats.convert(path, tmp_path / "hf", "hugging_face")
    model = transformers.T5ForConditionalGeneration.from_pretrained(
        tmp_path / "hf"
    )
    assert_equal(path, tiny_tokenizer, logits_of(torch, model.eval()))


def test_what_transformers_saved_is_written_back_bit_equal(
    transformers, torch, tmp_path, tiny_tokenizer
):
    model = make(transformers, torch, CASES["users_1_1"].config)
    model.save_pretrained(tmp_path / "a")
    save_tokenizer(transformers, tiny_tokenizer, tmp_path / "a")
    formats.convert(tmp_path / "a", tmp_path / "mesh", "mesh_tensorflow")
    formats.convert(tmp_path / "mesh", tmp_path / "b", "hugging_face")
    again = transformers.T5ForConditionalGeneration.from_pretrained(
        tmp_path / "b"
    )
    expected = model.state_dict()
    for key, value in again.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), expected[key].numpy(), key)


@pytest.mark.slow
def test_the_line_that_converts_pickled_weights_works(
    transformers, torch, tmp_path, tiny_tokenizer
):
    model = make(transformers, torch, CASES["users_1_1"].config)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    tiny_tokenizer.save(tmp_path / "spiece.model")
    with pytest.raises(ValueError, match="pickled weights") as raised:
        formats.read(tmp_path)
    line = re.search(r'python -c "(.+)"', str(raised.value))[1]
    subprocess.run([sys.executable, "-c", line], check=True)
    assert_equal(tmp_path, tiny_tokenizer, logits_of(torch, model))
