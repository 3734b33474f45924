"""Meshes and layouts: what is cut where, and what is refused."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from keras_prompt.models.layout import SUGGESTED_LAYOUT, Layout, parse_layout
from keras_prompt.models.t5.backbone import MeshT5Backbone
from keras_prompt.models.t5.config import T5Config

SIZES = {"heads": 6, "d_ff": 8, "vocab": 16, "d_model": 4, "d_kv": 4}


def test_a_layout_says_what_each_processor_holds():
    layout = parse_layout(
        "batch:2; model:2", "batch:batch;heads:model;d_ff:model", SIZES
    )
    assert layout.device_count == 4
    assert [layout.parts(d) for d in ("batch", "heads", "vocab")] == [2, 2, 1]
    kernel = [("d_model", 4), ("heads", 6), ("d_kv", 4)]
    assert layout.slice_shape(kernel) == (4, 3, 4)
    first = (slice(0, 4), slice(0, 3), slice(0, 4))
    second = (slice(0, 4), slice(3, 6), slice(0, 4))
    assert layout.windows(kernel) == [first, second, first, second]


def test_without_a_mesh_there_is_one_device():
    layout = parse_layout("", "", SIZES)
    assert layout == Layout()
    assert layout.device_count == 1
    assert layout.windows([("heads", 6)]) == [(slice(0, 6),)]


def test_windows_are_those_of_mesh_tensorflow():
    from keras_prompt.models.mesh import mtf
    from keras_prompt.models.mesh.sliced_variable import mesh_and_rules

    layout = parse_layout(
        "a:2;b:3;c:2", "heads:b;d_model:c;batch:a", SIZES | {"heads": 9}
    )
    dimensions = [("d_model", 4), ("heads", 9), ("d_kv", 4)]
    shape = mtf.Shape([mtf.Dimension(*d) for d in dimensions])
    theirs = mtf.MeshImpl(*mesh_and_rules(layout))
    windows = layout.windows(dimensions)
    assert len(windows) == math.prod(layout.mesh.values()) == 12
    for processor, window in enumerate(windows):
        begin = theirs.slice_begin(shape, processor)
        size = theirs.slice_shape(shape)
        assert [w.start for w in window] == begin
        assert [w.stop - w.start for w in window] == size


@pytest.mark.parametrize(
    ("mesh_shape", "layout", "message"),
    [
        (
            "model:4",
            "heads:model",
            r"Layout 'heads:model' splits 6 heads over 4 devices\. Choose a "
            r"mesh size that divides 6\.",
        ),
        ("model:2", "head:model", "'head'. Did you mean 'heads'"),
        ("model:2", "d_kv:model", "Unknown dimension 'd_kv'"),
        ("model:2", "heads:modl", "no axis.*Did you mean 'model'"),
        ("", "heads:model", "names no axis of the mesh ''"),
        ("model:2", "", "'model' splits nothing.*batch:batch;heads:model"),
        ("model=2", "heads:model", "must be pairs such as 'batch:2"),
        ("model:two", "heads:model", "axis 'model' a positive integer"),
        ("model:0", "heads:model", "axis 'model' a positive integer"),
        ("model:2;model:2", "heads:model", "names 'model' twice"),
        ("a:2;b:2", "heads:a;heads:b", "names 'heads' twice"),
        ("model:2", "heads:model;d_model:model", "d_model and heads"),
        ("model:2", "heads:model;batch:model", "batch and heads"),
    ],
)
def test_wrong_meshes_are_refused(mesh_shape, layout, message):
    with pytest.raises(ValueError, match=message):
        parse_layout(mesh_shape, layout, SIZES)


CONFIG = T5Config(16, 4, 4, 8, 6, 1, 1)


@pytest.mark.parametrize(
    ("mesh_shape", "layout", "options", "message"),
    [
        ("model:4", "heads:model", {}, "splits 6 heads over 4"),
        ("batch:512", "batch:batch", {}, "needs 512 devices; TensorFlow sees"),
        ("batch:2", "batch:batch", {"trainable": True}, "tf.distribute"),
    ],
)
def test_a_mesh_that_does_not_fit_is_refused_before_a_weight_is_read(
    mesh_shape, layout, options, message
):
    read = []
    with pytest.raises(ValueError, match=message):
        MeshT5Backbone(
            CONFIG,
            weights=lambda name: read.append(name) or np.zeros(1),
            mesh_shape=mesh_shape,
            layout=layout,
            **options,
        )
    assert not read


def test_a_mesh_over_workers_is_refused():
    import tensorflow as tf

    from keras_prompt.models.mesh.replica import Replica

    class Workers(tf.distribute.MultiWorkerMirroredStrategy):
        num_replicas_in_sync = 2

        def __init__(self):
            pass

    layout = parse_layout("model:2", "heads:model", SIZES)
    with pytest.raises(ValueError, match="over several workers"):
        Replica(layout, Workers())


def test_a_server_of_a_mesh_is_refused(tmp_path):
    from keras_prompt.export.server import export_server

    on_a_mesh = SimpleNamespace(device_count=2)
    with pytest.raises(ValueError, match="Load it without `mesh_shape`"):
        export_server(on_a_mesh, tmp_path / "server", tmp_path)
    assert not (tmp_path / "server").exists()


def test_the_suggested_layout_suits_every_released_size():
    from keras_prompt.models.t5.presets import PRESETS
    from keras_prompt.models.t5.variables import dimension_sizes

    for name, preset in PRESETS.items():
        if "nano" not in name:
            sizes = dimension_sizes(preset.config)
            layout = parse_layout("batch:2;model:2", SUGGESTED_LAYOUT, sizes)
            assert layout.parts("heads") == 2
