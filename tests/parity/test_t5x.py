"""T5X's folders as tensorstore, T5X's own storage library, writes them.

T5X itself is in no registry; what its network computes is compared through
the weights, which are equal to the bit.
"""

import ml_dtypes
import numpy as np
import pytest
from oracles.t5x_files import flat_weights, write_file
from oracles.users_model import CASES, assert_equal

pytestmark = pytest.mark.parity


def write(tensorstore, folder, flat):
    """As `t5x.checkpoints` does: large arrays in zarr, gzip, in chunks."""
    folder.mkdir()
    leaves = {}
    for key, value in flat.items():
        leaves[key] = value
        if value.ndim < 2:
            continue
        name = f"target.{key.replace('/', '.')}"
        is_half = value.dtype == ml_dtypes.bfloat16
        spec = {
            "driver": "zarr",
            "kvstore": {"driver": "file", "path": str(folder / name)},
            "metadata": {
                "compressor": {"id": "gzip"},
                "shape": list(value.shape),
                "chunks": [-(-size // 2) for size in value.shape],
                "dtype": "bfloat16" if is_half else "<f4",
            },
        }
        array = tensorstore.open(spec, create=True).result()
        array.write(value).result()
        leaves[key] = {
            "driver": "zarr",
            "kvstore": {"driver": "file", "path": name},
            "metadata": spec["metadata"],
        }
    write_file(folder / "checkpoint", leaves)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_what_tensorstore_writes_computes_the_same(
    tmp_path, tiny_tokenizer, name, dtype
):
    tensorstore = pytest.importorskip("tensorstore")
    case = CASES[name]
    weights = {k: v.astype(dtype) for k, v in case.weights().items()}
    write(tensorstore, tmp_path / "checkpoint_5", flat_weights(weights))
    tiny_tokenizer.save(tmp_path / "spiece.model")
    from keras_prompt.models.t5.backbone import MeshT5Backbone

    backbone = MeshT5Backbone(case.config, weights=weights.__getitem__)

    def logits(ids, decoder_ids):
        embedded = backbone.embed(ids)
        return backbone(embedded, np.ones_like(ids, bool), decoder_ids)

    assert_equal(tmp_path, tiny_tokenizer, logits)
