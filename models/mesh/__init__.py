"""The only importer of `mesh_tensorflow`; everyone else takes `mtf` here."""

import importlib
from typing import Any, TypeAlias

from keras_prompt.models.mesh.compat import import_mesh_tensorflow

mtf = import_mesh_tensorflow()
PlacementMeshImpl = importlib.import_module(
    "mesh_tensorflow.placement_mesh_impl"
).PlacementMeshImpl
# An `mtf.Tensor`: the library ships no types.
MeshTensor: TypeAlias = Any

__all__ = ["MeshTensor", "PlacementMeshImpl", "mtf"]
