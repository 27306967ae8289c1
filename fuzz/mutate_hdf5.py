"""Changes of an HDF5 file: of datasets, groups, links, attributes, filters, and of its bytes."""

from __future__ import annotations

import io
from typing import Any

import h5py
import mutate_json
import numpy as np
from choices import Choices

from everystep.errors import FileError
from everystep.saved.safe_hdf5 import longest_string

SHAPES: list[Any] = [(), (0,), (1,), (2, 8), (8, 2), (2, 2, 2), (1 << 40,), (1 << 20, 1 << 20), (0, 8)]
DTYPES: list[Any] = [
    "f4",
    "f8",
    "f2",
    ">f4",
    "i4",
    "u1",
    "S8",
    h5py.string_dtype(),
    h5py.ref_dtype,
    [("a", "f4")],
    "c8",
    bool,
]
NAMES = ["0", "1", "vars", "layers", "cell", "_layer_checkpoint_dependencies", "optimizer", "x", "model_weights", "é"]
# What a file that was damaged before may raise; FileError, where HDF5 would read its strings for ever.
IMPOSSIBLE = (OSError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, ArithmeticError, FileError)


def mutated(data: bytes, choices: Choices) -> bytes:
    """A changed HDF5 file."""
    if choices.below(4) == 0:
        return bytes_changed(data, choices)
    file = io.BytesIO(data)
    try:
        longest_string(data)
        with h5py.File(file, "r+") as opened:
            names: list[str] = []
            opened.visit(names.append)
            if names:
                change(opened, choices.one_of(names), names, choices)
    except IMPOSSIBLE:  # damaged before, or not to be had: stays as it is
        return data
    return file.getvalue()


def config_changed(data: bytes, choices: Choices) -> bytes:
    """The config in an attribute, as Keras 2 kept it, changed."""
    file = io.BytesIO(data)
    try:
        longest_string(data)
        with h5py.File(file, "r+") as opened:
            config = opened.attrs["model_config"]
            changed = mutate_json.mutated(config.encode() if isinstance(config, str) else bytes(config), choices)
            opened.attrs["model_config"] = changed.decode("utf-8", "surrogateescape")
    except IMPOSSIBLE:
        return data
    return file.getvalue()


def bytes_changed(data: bytes, choices: Choices) -> bytes:
    changed = bytearray(data)
    if changed and choices.below(4) == 0:
        del changed[choices.below(len(changed)) :]
    for _ in range(1 + choices.below(8)):
        if changed:
            changed[choices.below(len(changed))] = choices.one_of([0, 1, 2, 0x7F, 0x80, 0xFF, choices.below(256)])
    return bytes(changed)


def change(file: h5py.File, path: str, names: list[str], choices: Choices) -> None:
    parent, name = file[path].parent, path.rpartition("/")[2]
    kind = choices.below(12)
    if kind == 0:
        del file[path]
    elif kind == 1:
        file.move(path, f"{path}{choices.one_of(NAMES)}" if choices.below(2) else choices.one_of(NAMES))
    elif kind == 2:
        parent[choices.one_of(NAMES)] = file[choices.one_of(names)]
    elif kind == 3:
        del file[path]
        file[path] = choices.one_of(
            [h5py.SoftLink("/layers"), h5py.SoftLink("/"), h5py.ExternalLink("/etc/hostname", "/x")]
        )
    elif kind == 4:
        del file[path]
        file[path] = np.dtype(choices.one_of(["f4", "i8"]))
    elif kind == 5:
        target = choices.one_of([file[path], file, parent])
        value: Any = choices.one_of([0, "x", "x" * 70000, b"\xff", np.ones(10), np.array(["é"], object), [b"a", b"b"]])
        target.attrs[choices.one_of([*NAMES, *target.attrs])] = value
    elif kind == 6:
        file.copy(choices.one_of(names), parent, name=choices.one_of(NAMES))
    elif kind == 7:
        group = parent
        for _ in range(choices.below(80)):
            group = group.create_group(choices.one_of(NAMES))
    else:
        shape = choices.one_of([getattr(file[path], "shape", (1,)), *SHAPES])
        dtype = choices.one_of([getattr(file[path], "dtype", "f4"), *DTYPES])
        options = choices.one_of(
            [{}, {"chunks": True}, {"chunks": True, "compression": "gzip"}, {"chunks": True, "fletcher32": True},
             {"external": [("/etc/hostname", 0, h5py.h5f.UNLIMITED)]}, {"maxshape": None, "fillvalue": 1}]
        )  # fmt: skip
        del file[path]
        if kind == 8:
            layout = h5py.VirtualLayout(shape, "f4")
            layout[...] = h5py.VirtualSource(choices.one_of([".", "/etc/hostname"]), "x", shape)
            file.create_virtual_dataset(f"{parent.name}/{name}", layout)
        else:
            parent.create_dataset(name, shape, dtype, **options)
