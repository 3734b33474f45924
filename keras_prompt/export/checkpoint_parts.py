"""One large frozen checkpoint, shared by hard links; one small one a release.

MergeV2Checkpoints moves data files and writes a new index, so that a release
is links to the frozen numbers, a shard of prompts, and an index of both.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_prompt.atomic_files import remove
from keras_prompt.prompt_files import CHECKPOINT
from keras_prompt.types import Tensor

PARTS = "frozen_part"
_FROZEN = "frozen"
_BANK = "bank"
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_SOURCE = "source/"  # the attribute of the server that holds the bank


def split_checkpoint(folder: Path, weights: Sequence[tf.Variable]) -> None:
    """Moves a saved base's weights into a part that releases link to.

    The base itself becomes a release without prompts, its weights stored
    once.

    Args:
        folder: of the SavedModel.
        weights: the live variables, saved as `weights`.
    """
    reader = tf.train.load_checkpoint(str(folder / CHECKPOINT))
    bank = {
        key: reader.get_tensor(key)
        for key in reader.get_variable_to_shape_map()
        if key.startswith(_SOURCE)
    }
    frozen: dict[str, Tensor] = {
        f"weights/{i}{_VALUE}": weight for i, weight in enumerate(weights)
    }
    # Last, so that it is missing of a file that was cut off.
    frozen[_OBJECT_GRAPH] = tf.constant(reader.get_tensor(_OBJECT_GRAPH))
    assert {*frozen, *bank} == set(reader.get_variable_to_shape_map())
    remove(folder / "variables")
    (folder / PARTS).mkdir()
    _write(folder / PARTS / _FROZEN, frozen)
    _merge(folder, folder, bank)


def check_parts(base: Path) -> None:
    """Refuses a base whose numbers, which releases link to, are not whole.

    Raises:
        ValueError: they are not.
    """
    try:
        reader = tf.train.load_checkpoint(str(base / PARTS / _FROZEN))
        reader.get_tensor(_OBJECT_GRAPH)  # at the file's end
    except (tf.errors.OpError, LookupError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{base / PARTS} is damaged ({reason}). Export or copy the base "
            "again."
        ) from error


def merge_release(
    base: Path,
    folder: Path,
    names: Sequence[bytes],
    vectors: np.ndarray,
    lengths: np.ndarray,
) -> None:
    """Writes a release's variables: links to the base's, and prompts.

    Args:
        base: folder that `split_checkpoint` made.
        folder: of the release.
        names: of N prompts.
        vectors: float32 (N, P, D).
        lengths: int32 (N,).

    Raises:
        OSError: no hard link can be made there.
    """
    bank = {"names": names, "vectors": vectors, "lengths": lengths}
    _merge(
        base,
        folder,
        {f"{_SOURCE}{name}{_VALUE}": value for name, value in bank.items()},
    )


def link(source: Path, target: Path) -> None:
    """Makes a hard link.

    Raises:
        OSError: the file system cannot, or they are two of them.
    """
    try:
        os.link(source, target)
    except OSError as error:
        raise OSError(
            f"{source} cannot be linked to {target}: {error.strerror}. A "
            "release must lie in the file system of its base."
        ) from error


def stored_bytes(folder: Path) -> int:
    """Bytes of all files below a folder, linked ones once."""
    files = {p.stat().st_ino: p for p in folder.rglob("*") if p.is_file()}
    return sum(path.stat().st_size for path in files.values())


def _merge(base: Path, folder: Path, bank: Mapping[str, object]) -> None:
    variables = folder / "variables"
    variables.mkdir()
    parts = [variables / _FROZEN, variables / _BANK]
    for file in (base / PARTS).iterdir():
        link(file, variables / file.name)
    _write(parts[1], {key: tf.constant(v) for key, v in bank.items()})
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=[str(part) for part in parts],
        destination_prefix=str(folder / CHECKPOINT),
        delete_old_dirs=False,
    )
    for part in parts:
        part.with_suffix(".index").unlink(missing_ok=True)


def _write(prefix: Path, tensors: Mapping[str, Tensor]) -> None:
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=[tf.convert_to_tensor(value) for value in tensors.values()],
    )
