"""Runs an exported SavedModel's signatures as a server would, from outside."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

_SOURCE = Path(__file__).with_name("run_saved_model.c")
_TENSORFLOW = Path(tf.__file__).parent
_BARE = """
import sys
import numpy as np
import tensorflow as tf

folder, signature, given, result, *libraries = sys.argv[1:]
for library in libraries:
    __import__(library)
model = tf.saved_model.load(folder)
inputs = {k: tf.constant(v) for k, v in np.load(given).items()}
outputs = model.signatures[signature](**inputs)
outputs = {k: np.array(v.numpy().tolist(), v.dtype.as_numpy_dtype
           if v.dtype != tf.string else "S") for k, v in outputs.items()}
np.savez(result, **outputs)
assert not {"keras_prompt", "mesh_tensorflow"} & set(sys.modules)
"""


def compile_loader(folder):
    """Builds the C program against the library in TensorFlow's wheel."""
    program = folder / "run_saved_model"
    subprocess.run(
        [
            *("gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", str(_SOURCE)),
            *("-o", str(program), f"-I{_TENSORFLOW / 'include'}"),
            *(f"-L{_TENSORFLOW}", "-l:libtensorflow_cc.so.2"),
            *("-l:libtensorflow_framework.so.2", f"-Wl,-rpath,{_TENSORFLOW}"),
        ],
        check=True,
    )
    return program


def run_in_c(program, folder, signature, inputs, *libraries):
    """A signature's outputs, from a process without Python.

    Libraries are files that register ops.

    Raises:
        RuntimeError: what TensorFlow said.
    """
    definition = _definitions(folder)[signature]
    request = []
    for name, info in definition.inputs.items():
        value = np.asarray(inputs[name])
        operation, index = info.name.split(":")
        words = [_word(x) for x in value.ravel().tolist()]
        kind = (operation, index, info.dtype, value.ndim, *value.shape)
        request += ["feed", *map(str, kind), *words]
    names = list(definition.outputs)
    for name in names:
        request += ["fetch", *definition.outputs[name].name.split(":")]
    done = subprocess.run(
        [program, folder, *libraries],
        input=" ".join(request),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    lines = done.stdout.splitlines()
    return dict(zip(names, map(_array, lines), strict=True))


def run_in_bare_python(folder, signature, inputs, scratch, *libraries):
    """A signature's outputs, from a process that imports TensorFlow alone.

    Libraries are modules that register ops.

    Raises:
        RuntimeError: what the process said.
    """
    given, result = scratch / "given.npz", scratch / "result.npz"
    np.savez(given, **inputs)
    done = subprocess.run(
        [
            *(sys.executable, "-c", _BARE),
            *(folder, signature, given, result, *libraries),
        ],
        capture_output=True,
        text=True,
        cwd=scratch,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return dict(np.load(result))


def signatures_of(folder):
    """The names of the signatures that a caller has."""
    return {name for name in _definitions(folder) if name[:2] != "__"}


def _definitions(folder):
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((folder / "saved_model.pb").read_bytes())
    return model.meta_graphs[0].signature_def


def _word(value):
    if isinstance(value, bytes | str):
        value = value.encode() if isinstance(value, str) else value
        return value.hex() or "-"
    return repr(value)


def _array(line):
    kind, rank, *words = line.split()
    rank = int(rank)
    shape = [int(word) for word in words[:rank]]
    words = words[rank:]
    if int(kind) == tf.string.as_datatype_enum:
        strings = [b"" if w == "-" else bytes.fromhex(w) for w in words]
        return np.array(strings, dtype=object).reshape(shape)
    dtype = tf.as_dtype(int(kind)).as_numpy_dtype
    return np.array([float(word) for word in words], dtype).reshape(shape)
