"""Mesh and layout strings, parsed and checked before anything is built.

A mesh names the axes along which processors stand, `"batch:2;model:2"`; a
layout says which dimension of the model is cut along which axis,
`"batch:batch;heads:model;d_ff:model;vocab:model"`. The names are those of
Mesh TensorFlow, which this module does without, so that a plan needs no
TensorFlow.
"""

import dataclasses
import difflib
import math
from collections.abc import Mapping, Sequence

from keras_prompt.registry import lookup

SUGGESTED_LAYOUT = "batch:batch;heads:model;d_ff:model;vocab:model"
# No weight and no activation has two of these, so one axis may cut them all.
_NEVER_TOGETHER = frozenset({"heads", "d_ff", "vocab"})
_SPLITTABLE = ("batch", "d_ff", "d_model", "heads", "vocab")


@dataclasses.dataclass(frozen=True)
class Layout:
    """Which dimension is cut along which axis of which mesh.

    Attributes:
        mesh: size of every axis by its name, in order; empty for one device.
        axes: the axis of every dimension that is cut, by its name.
    """

    mesh: Mapping[str, int] = dataclasses.field(default_factory=dict)
    axes: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def device_count(self) -> int:
        """Processors of the mesh, 1 without one."""
        return math.prod(self.mesh.values())

    def parts(self, dimension: str) -> int:
        """Into how many parts a dimension is cut, 1 if it is not."""
        axis = self.axes.get(dimension)
        return 1 if axis is None else self.mesh[axis]

    def slice_shape(
        self, dimensions: Sequence[tuple[str, int]]
    ) -> tuple[int, ...]:
        """What one processor holds of a weight."""
        return tuple(size // self.parts(name) for name, size in dimensions)

    def windows(
        self, dimensions: Sequence[tuple[str, int]]
    ) -> list[tuple[slice, ...]]:
        """The part of a weight that each processor holds, in their order.

        The last axis of the mesh varies fastest, as in Mesh TensorFlow.

        >>> layout = Layout({"rows": 2, "model": 2}, {"heads": "model"})
        >>> layout.windows([("heads", 6)])[1:3]
        [(slice(3, 6, None),), (slice(0, 3, None),)]
        """
        shape = self.slice_shape(dimensions)
        windows = []
        for processor in range(self.device_count):
            place, rest = {}, processor
            for axis, size in reversed(list(self.mesh.items())):
                rest, place[axis] = divmod(rest, size)
            begins = [
                place[self.axes[name]] * part if name in self.axes else 0
                for (name, _), part in zip(dimensions, shape, strict=True)
            ]
            windows.append(
                tuple(
                    slice(begin, begin + part)
                    for begin, part in zip(begins, shape, strict=True)
                )
            )
        return windows


def parse_layout(
    mesh_shape: str, layout: str, sizes: Mapping[str, int]
) -> Layout:
    """Reads both strings and checks them against a model.

    Args:
        mesh_shape: "batch:2;model:2"; empty for one device.
        layout: "heads:model;d_ff:model"; empty for one device.
        sizes: of the model's dimensions by name, without the batch's, whose
            rows are filled up.

    Raises:
        ValueError: a string is malformed, a name is unknown, a dimension does
            not divide, an axis cuts nothing, or one axis cuts two dimensions
            of one tensor.
    """
    mesh = {
        axis: _size(axis, size, mesh_shape)
        for axis, size in _pairs("mesh_shape", mesh_shape, "batch:2;model:2")
    }
    axes = dict(_pairs("layout", layout, SUGGESTED_LAYOUT))
    for dimension, axis in axes.items():
        lookup("dimension", dimension, dict.fromkeys(_SPLITTABLE))
        if axis not in mesh:
            near = difflib.get_close_matches(axis, mesh, n=1)
            raise ValueError(
                f"Layout '{dimension}:{axis}' names no axis of the mesh "
                f"'{mesh_shape}'."
                + (f" Did you mean '{near[0]}'?" if near else "")
            )
    found = Layout(mesh, axes)
    _check_sizes(found, sizes)
    _check_axes(found)
    return found


def _pairs(argument: str, text: str, example: str) -> list[tuple[str, str]]:
    pairs = []
    for part in filter(None, (p.strip() for p in text.split(";"))):
        name, colon, value = (p.strip() for p in part.partition(":"))
        if not (name and colon and value):
            raise ValueError(
                f"`{argument}` must be pairs such as '{example}'. "
                f"Received: {argument}={text!r}"
            )
        pairs.append((name, value))
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"`{argument}` names '{name}' twice. "
                f"Received: {argument}={text!r}"
            )
    return pairs


def _size(axis: str, size: str, mesh_shape: str) -> int:
    if not size.isdecimal() or int(size) < 1:
        raise ValueError(
            f"`mesh_shape` must give axis '{axis}' a positive integer. "
            f"Received: mesh_shape={mesh_shape!r}"
        )
    return int(size)


def _check_sizes(layout: Layout, sizes: Mapping[str, int]) -> None:
    for dimension, axis in layout.axes.items():
        parts = layout.mesh[axis]
        size = sizes.get(dimension, 0)  # the batch's rows are filled up
        if size % parts:
            raise ValueError(
                f"Layout '{dimension}:{axis}' splits {size} {dimension} over "
                f"{parts} devices. Choose a mesh size that divides {size}."
            )


def _check_axes(layout: Layout) -> None:
    for axis, size in layout.mesh.items():
        cut = sorted(name for name, a in layout.axes.items() if a == axis)
        if not cut and size > 1:
            raise ValueError(
                f"Mesh axis '{axis}' splits nothing: no dimension of the "
                f"layout lies along it. Use layout='{SUGGESTED_LAYOUT}', or "
                "leave the axis out."
            )
        if len(cut) > 1 and not _NEVER_TOGETHER.issuperset(cut):
            raise ValueError(
                f"Layout splits {' and '.join(cut)} along one mesh axis, "
                f"'{axis}', but some tensor has more than one of them. Give "
                "each an axis of its own; heads, d_ff and vocab may share."
            )
