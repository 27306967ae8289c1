""".keras files, as Keras 3 writes them: a zip of metadata.json, config.json and model.weights.h5.

Reading one imports, evaluates and unpickles nothing that it names, and its memory is bounded: the config is read, the
model is built without numbers, each dataset is compared with the weight that it is for, and then its numbers are read.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterable
from datetime import datetime
from os import PathLike
from typing import Any

import h5py

from everystep.errors import FileError, GraphError, OptionError
from everystep.layers.activations import REGISTERED
from everystep.layers.base import Layer
from everystep.models import Model
from everystep.models.config import refuse_shared
from everystep.saved.build import built_model
from everystep.saved.keras3_changes import for_keras3
from everystep.saved.replaced import replaced
from everystep.saved.safe_hdf5 import check_dataset, find_datasets, open_hdf5
from everystep.saved.safe_json import parse
from everystep.saved.safe_zip import read_archive
from everystep.saved.weight_groups import Group, new_path, weight_groups

ACTIVATIONS = ("activation", "recurrent_activation")  # the arguments that take a function
FUNCTIONS = {  # of everystep.keras, as Keras writes them
    name: {"module": "builtins", "class_name": "function", "config": registered, "registered_name": "function"}
    for registered, name in REGISTERED.items()
}
FORMAT = "3.15.1"  # the Keras whose files these are
TRAINING = ("optimizer", "metrics", "_metrics", "_compile_metrics", "_compile_loss", "_loss_tracker", "loss")  # unread


def load_archive(path: str | PathLike[str], max_bytes: int) -> Model:
    """The model in a .keras file; see `load_model`."""
    members = read_archive(path, max_bytes)
    where = {name: f"{name} of {str(path)!r}" for name in members}
    version = str(parse(members["metadata.json"], where["metadata.json"]).get("keras_version", FORMAT))
    model = built_model(parse(members["config.json"], where["config.json"]), version, where["config.json"])
    read_weights(model, members["model.weights.h5"], where["model.weights.h5"])
    return model


def read_weights(model: Model, data: bytes, where: str) -> None:
    """Gives a built model the weights of a `model.weights.h5`, as of any file of weights that Keras 3 writes.

    Raises:
        FileError: the file is damaged, or its weights are not just those of the model.
    """
    groups = list(weight_groups(model))
    unread = {f"{group.path}{name}" for group in groups if isinstance(group.layer, Model) for name in TRAINING}
    with open_hdf5(data, where) as file:
        found = find_datasets(file, unread)
        if any("_layer_checkpoint_dependencies" in path for path in found):
            groups = list(weight_groups(model, counted_twice=True))
        renamed = {new_path(path): path for path in found}
        for path in found:
            if renamed[new_path(path)] != path:
                raise FileError(
                    f"it has {path!r} twice: {renamed[new_path(path)]!r} is the same place in another Keras"
                )
        found = {new: found[path] for new, path in renamed.items()}
        wanted = {
            path: (group.layer, name, group.layer.named_weights[name])
            for group in groups
            for path, name in group.datasets.items()
        }
        for path, (layer, name, _) in wanted.items():
            if path not in found:
                raise FileError(f"it has no {path!r}, {name} of layer {layer.name!r}")
        for path in found:
            if path not in wanted:
                raise FileError(f"it has {path!r}, and the config has no weight there")
        for path, (_, _, weight) in wanted.items():
            check_dataset(path, found[path], weight.shape, str(weight.dtype), len(data))
        needed = sum(weight.nbytes for _, _, weight in wanted.values())
        if needed > len(data):
            raise FileError(f"the weights take {needed} bytes, and the file has {len(data)}: they share data")
        numbers: dict[int, tuple[Layer, dict[str, Any]]] = {}
        for path, (layer, name, _) in wanted.items():
            numbers.setdefault(id(layer), (layer, {}))[1][name] = found[path][()]
    for layer, arrays in numbers.values():
        layer.set_weights([arrays[name] for name in layer.named_weights])


def save_model(model: Model, path: str | PathLike[str]) -> None:
    """Writes a model to a .keras file; see `Model.save`."""
    path = os.fspath(path)
    if not path.endswith(".keras"):
        raise OptionError(f"a model is saved as a .keras file; got the path {path!r}")
    if not model.built:
        raise GraphError(f"model {model.name!r} has no weights yet, to be saved: call it on its inputs first")
    refuse_shared(model)
    model = for_keras3(model)
    metadata = {"keras_version": FORMAT, "date_saved": f"{datetime.now():%Y-%m-%d@%H:%M:%S}"}
    members = {
        "metadata.json": json.dumps(metadata).encode(),
        "config.json": json.dumps(written_config(model.serialized())).encode(),
        "model.weights.h5": written_weights(weight_groups(model)),
    }
    with replaced(path) as unfinished, zipfile.ZipFile(unfinished, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def written_config(value: Any) -> Any:
    """A config in which no function that Keras lacks is but a name."""
    if isinstance(value, dict):
        named = {key: FUNCTIONS[value[key]] for key in ACTIVATIONS if value.get(key) in list(FUNCTIONS)}
        return {key: written_config(inner) for key, inner in (value | named).items()}
    return [written_config(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def written_weights(groups: Iterable[Group]) -> bytes:
    """A `model.weights.h5` with these groups."""
    file = io.BytesIO()
    with h5py.File(file, "w") as made:
        for path, name, layer, weights in groups:
            variables = made.require_group(f"{path}vars")
            variables.attrs["name"] = name
            for number, weight in enumerate(weights):
                variables[str(number)] = layer.named_weights[weight]
    return file.getvalue()
