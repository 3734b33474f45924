"""The recipe of the small models, on sizes that take seconds."""

import hashlib
import json
import math
import tomllib
from pathlib import Path

import make_models
import pytest

from keras_prompt.models.checkpoints import hugging_face
from keras_prompt.models.t5.config import T5Config
from keras_prompt.models.t5.presets import PRESETS
from keras_prompt.models.t5.variables import weight_table
from keras_prompt.tasks.documents import document_source
from keras_prompt.tasks.vocabulary import train_vocabulary

RECIPE = tomllib.loads(
    Path(make_models.__file__).with_name("small_models.toml").read_text()
)
SIZES = {k for k in T5Config.__dataclass_fields__ if k != "vocab_size"}


def config(name):
    size = RECIPE["sizes"][name]
    fields = {k: v for k, v in size.items() if k in SIZES}
    return T5Config(vocab_size=8128, **fields)


def parameters(name):
    shapes = weight_table(config(name)).values()
    return sum(math.prod(n for _, n in shape) for shape in shapes)


def test_sizes_are_what_the_recipe_says_and_fit_in_the_package():
    found = {name: parameters(name) for name in RECIPE["sizes"]}
    assert found == {"pico": 1_393_792, "nano": 6_073_536, "micro": 9_212_160}
    for size in ("pico", "nano"):
        assert config(size) == PRESETS[f"t5_1_1_{size}_lm"].config
    in_bytes = [2 * count for count in found.values()]  # bfloat16
    assert max(in_bytes) < 20e6
    assert sum(in_bytes) < 40e6


def test_every_step_count_can_be_run():
    for size in RECIPE["sizes"].values():
        assert (
            size["pretrain_steps"] % RECIPE["pretrain"]["evaluate_every"] == 0
        )
        for percent in RECIPE["adapt"]["percent"]:
            steps = size["adapt_steps"] * percent / 100
            assert steps % RECIPE["adapt"]["evaluate_every"] == 0


@pytest.mark.slow
def test_a_size_is_made_of_text_with_each_length_of_adaptation(
    tmp_path, monkeypatch
):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(
        "\n\n".join(f"the film {i} is a delight " * 20 for i in range(300))
    )
    small = {
        "batch_size": 2,
        "input_length": 32,
        "evaluate_every": 1,
        "dtype": "float32",
    }
    recipe = {
        "vocabulary": 25,
        "pretrain": small,
        "adapt": small | {"percent": [50, 100], "learning_rate": 0.001},
    }
    size = {
        **dict.fromkeys(("d_model", "d_kv", "d_ff"), 8),
        "num_heads": 1,
        "num_encoder_layers": 1,
        "num_decoder_layers": 1,
        "pretrain_steps": 2,
        "adapt_steps": 2,
        "adapt_decay_steps": 1,
    }
    output = tmp_path / "models"
    arguments = (recipe, size, [str(corpus)], output, "tiny")
    make_models.make(*arguments)
    embeddings = {}
    for percent, steps in ((0, 2), (50, 1), (100, 2)):
        folder = output / "tiny" / str(percent)
        card = json.loads((folder / "training.json").read_text())
        assert card["steps"] == steps
        weight = hugging_face.read(folder).weights("shared/embedding")
        embeddings[percent] = weight.tobytes()
    assert len(set(embeddings.values())) == 3
    run = json.loads((output / "tiny" / "adapt" / "run.json").read_text())
    assert run["decay_steps"] == 1  # of the last percentage alone
    # Again, it has nothing left to do.
    make_models.make(*arguments)
    weight = hugging_face.read(output / "tiny" / "100")
    assert weight.weights("shared/embedding").tobytes() == embeddings[100]
    # Nor where they lie now, however that is spelt.
    output.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    moved = (recipe, size, [str(corpus)], Path("moved"), "tiny")
    make_models.make(*moved)
    card = json.loads((tmp_path / "moved/tiny/50/recipe.json").read_text())
    vocabulary = (tmp_path / "moved/spiece.model").read_bytes()
    assert card["vocabulary"] == {
        "pieces": 25,
        "sha256": hashlib.sha256(vocabulary).hexdigest(),
    }
    recipe["adapt"]["learning_rate"] = 0.002
    with pytest.raises(ValueError, match="50 was made with other settings"):
        make_models.make(*moved)
    # As many pieces, and others.
    letters = "abcdefghijklmnopqrstu" * 9
    (tmp_path / "other.txt").write_text(f"{letters}\n\n{letters}")
    other = [document_source(tmp_path / "other.txt")]
    Path("moved/spiece.model").write_bytes(train_vocabulary(other, 25))
    with pytest.raises(ValueError, match="0 was made with other settings"):
        make_models.make(*moved)


def test_a_vocabulary_of_another_number_of_pieces_is_refused(
    tmp_path, tiny_tokenizer
):
    tiny_tokenizer.save(tmp_path / "spiece.model")
    with pytest.raises(
        ValueError,
        match=rf"{tmp_path}/spiece\.model has {tiny_tokenizer.piece_count} "
        r"pieces, and the recipe 8,000\. Remove it",
    ):
        make_models.main(["pico", "absent.txt", "--output", str(tmp_path)])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("vocabulary =", "vocabulry =", "Did you mean 'vocabulary'"),
        ("vocabulary = 8000", "vocabulary = '8k'", "Received: .*'8k'"),
        (
            "vocabulary = 8000",
            "vocabulary = 8 8",
            r"toml is no recipe: .*line 5",
        ),
        ("[pretrain]", "[pretrian]", "section 'pretrian'. Did you mean 'pret"),
        ("[pretrain]\n", "[sizes.x]\n", r"it has no 'pretrain'\."),
        (
            "d_model = 64",
            "d_modle = 3",
            r"\[sizes.pico\] 'd_modle'. Did .*'d_model",
        ),
        ("d_model = 64", "d_model = 0", "`d_model` must be a positive integer"),
        ("[sizes.nano]", "[sizes.nano]\nseed = 'x'", "is no recipe: "),
        (
            "[sizes.nano]",
            "[sizes.nano]\nbatch_size = 8",
            "multiple values .*size'",
        ),
        ("percent = [", "percents = [", "it has no 'percent'"),
        ("percent = [10, 50", "percent = ['a', 50", "is no recipe: "),
        (
            "warmup_steps = 4000",
            "steps = 4000",
            "setting in .pretrain. 'steps'",
        ),
    ],
)
def test_a_recipe_that_makes_no_model_is_refused(tmp_path, old, new, message):
    text = Path(make_models.__file__).with_name("small_models.toml").read_text()
    assert old in text
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace(old, new, 1))
    options = ["--recipe", str(path), "--output", str(tmp_path / "o")]
    with pytest.raises(ValueError, match=message) as raised:
        make_models.main(["nano", "text.txt", *options])
    assert str(raised.value).startswith(f"{path} is no recipe: ")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "o").exists()


def test_a_recipe_without_sizes_or_without_a_file_is_refused(tmp_path):
    text = Path(make_models.__file__).with_name("small_models.toml").read_text()
    path = tmp_path / "recipe.toml"
    path.write_text(text.partition("[sizes")[0])
    with pytest.raises(ValueError, match="no recipe: it has no 'sizes'"):
        make_models.main(["nano", "text.txt", "--recipe", str(path)])
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"No recipe at .*recipe\.toml"):
        make_models.main(["nano", "text.txt", "--recipe", str(path)])


def test_a_misspelt_size_is_named(tmp_path):
    with pytest.raises(ValueError, match="Did you mean 'nano'"):
        make_models.main(["nanno", "text.txt", "--output", str(tmp_path / "o")])
    assert not (tmp_path / "o").exists()
