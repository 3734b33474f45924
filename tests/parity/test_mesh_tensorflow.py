"""Our stack against Mesh TensorFlow's own T5, which writes the checkpoint."""

import pytest
from oracles.users_model import CASES, assert_equal

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),
]


@pytest.mark.parametrize(
    ("name", "norms", "combine_dims"),
    [
        ("users_1_1", "rms_norm", True),
        ("users_1_0", "layer_norm", True),
        ("users_1_1", "layer_norm", False),
    ],
)
def test_mesh_tensorflows_own_model_computes_the_same(
    tmp_path, tiny_tokenizer, name, norms, combine_dims
):
    from oracles.mesh_tensorflow_t5 import MeshT5

    folder = tmp_path / "model"
    theirs = MeshT5(CASES[name].config, folder, norms, combine_dims)
    tiny_tokenizer.save(folder / "spiece.model")
    assert_equal(folder, tiny_tokenizer, theirs.logits)
