"""T5X checkpoints as T5X leaves them: its names, flax's msgpack, zarr."""

import gzip
import json

import flax.serialization
import ml_dtypes
import numpy as np

from keras_prompt.models.checkpoints.t5x_names import key_of


def flat_weights(weights):
    """T5X's arrays by its keys, of ours."""
    return {
        key_of(name): stored(name, value) for name, value in weights.items()
    }


def stored(name, value):
    if value.ndim < 3:
        return value
    rows = -1 if name.endswith("/o") else len(value)
    return value.reshape(rows, value.shape[2] if rows == -1 else -1)


def nested(flat):
    tree = {}
    for key, value in flat.items():
        *path, last = key.split("/")
        at = tree
        for part in path:
            at = at.setdefault(part, {})
        at[last] = value
    return tree


def write_file(path, flat):
    tree = {
        "version": 3,
        "optimizer": {
            "state": {"step": np.int32(7), "param_states": {}},
            "target": nested(flat),
        },
    }
    path.write_bytes(flax.serialization.msgpack_serialize(tree))


def write_zarr(folder, value, chunks):
    folder.mkdir(parents=True)
    dtype = "bfloat16" if value.dtype == ml_dtypes.bfloat16 else "<f4"
    (folder / ".zarray").write_text(
        json.dumps(
            {
                "chunks": chunks,
                "compressor": {"id": "gzip", "level": 1},
                "dtype": dtype,
                "fill_value": None,
                "filters": None,
                "order": "C",
                "shape": value.shape,
                "zarr_format": 2,
            }
        )
    )
    counts = [-(-n // c) for n, c in zip(value.shape, chunks, strict=True)]
    for index in np.ndindex(*counts):
        chunk = np.zeros(chunks, value.dtype)
        starts = [i * c for i, c in zip(index, chunks, strict=True)]
        part = value[
            tuple(slice(s, s + c) for s, c in zip(starts, chunks, strict=True))
        ]
        chunk[tuple(slice(0, n) for n in part.shape)] = part
        name = ".".join(map(str, index))
        (folder / name).write_bytes(gzip.compress(chunk.tobytes()))


def write_folder(folder, flat):
    folder.mkdir()
    leaves = {}
    for key, value in flat.items():
        leaves[key] = value
        if value.ndim == 2 and "relpos" not in key:
            name = f"target.{key.replace('/', '.')}"
            write_zarr(folder / name, value, [5, 7])
            leaves[key] = {
                "driver": "zarr",
                "kvstore": {"driver": "gfile", "path": name},
                "metadata": {},
            }
    write_file(folder / "checkpoint", leaves)
