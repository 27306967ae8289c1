"""Files told apart by what is in them, whatever they are called."""

from __future__ import annotations

import os
from os import PathLike

from everystep.errors import FileError, OptionError
from everystep.models import Model
from everystep.saved.keras_archive import load_archive, read_weights
from everystep.saved.safe_hdf5 import open_hdf5
from everystep.saved.safe_zip import read_archive

HDF5, ZIP = b"\x89HDF\r\n\x1a\n", b"PK"
CAP = 1 << 32  # bytes that a file may have
HOW_TO_RESAVE = "Load it with TensorFlow and Keras 2 (tf_keras), save it by model.save('model.h5'), and load that file"


def load_model(path: str | PathLike[str], *, max_bytes: int = CAP) -> Model:
    """The model in a file, to run: a .keras file, or an .h5 of a whole model (Keras 2.0 to 2.15, tf.keras, Keras 3).

    What the file is follows from its content. Nothing in it is imported, evaluated or unpickled.

    Args:
        max_bytes: the most that the file may hold, unpacked.

    Raises:
        FileError: the file is damaged, too large, a directory (a SavedModel), holds weights alone, or what a model's
            file does not; or the weights are not those of the config. UnsupportedError: a layer, by its path, or an
            option, is not supported.
    """
    if _kind(path) == HDF5:
        from everystep.saved.legacy_h5 import load_legacy_h5  # when it is needed: a .keras file starts faster

        return load_legacy_h5(_read(path, max_bytes), repr(str(path)))
    return load_archive(path, max_bytes)


def load_weights(model: Model, path: str | PathLike[str], by_name: bool = False, max_bytes: int = CAP) -> None:
    """Gives a built model the weights in a file; see `Model.load_weights`."""
    from everystep.saved.legacy_h5 import is_legacy, load_legacy_weights

    where = repr(str(path))
    if _kind(path) == ZIP:
        data, where = read_archive(path, max_bytes)["model.weights.h5"], f"model.weights.h5 of {where}"
    else:
        data = _read(path, max_bytes)
    with open_hdf5(data, where) as file:
        legacy = is_legacy(file)
    if legacy:
        load_legacy_weights(model, data, where, by_name)
    elif by_name:
        raise OptionError(f"{where} has weights by their place in the model, without names: by_name must be False")
    else:
        read_weights(model, data, where)


def _kind(path: str | PathLike[str]) -> bytes:
    """`HDF5`, `ZIP`, or what else a file begins with.

    Raises:
        FileError: it is a directory.
    """
    if os.path.isdir(path):
        saved = any(os.path.exists(os.path.join(path, name)) for name in ("saved_model.pb", "keras_metadata.pb"))
        what = "a SavedModel, which holds TensorFlow's program" if saved else "no model's file"
        raise FileError(f"{str(path)!r} is a directory, {what}. {HOW_TO_RESAVE}")
    with open(path, "rb") as file:
        start = file.read(len(HDF5))
    return ZIP if start.startswith(ZIP) else start


def _read(path: str | PathLike[str], max_bytes: int) -> bytes:
    size = os.path.getsize(path)
    if size > max_bytes:
        raise FileError(f"{str(path)!r}: it has {size} bytes, and max_bytes is {max_bytes}")
    with open(path, "rb") as file:
        return file.read(size)  # and no more, should it grow meanwhile
