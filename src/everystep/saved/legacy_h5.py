"""HDF5 files of whole models, and of weights alone, as Keras 2 wrote them and Keras 3 still writes its `.h5`.

    attributes of the root                keras_version, backend, model_config (JSON), training_config, which is unread
    /model_weights                        the root itself in a file of weights alone
        attribute layer_names             every layer of the model
        /lstm_1                           a group for each, with all its weights, those of inner layers too
            attribute weight_names        paths from here, in order: trainable ones first
            lstm_1/lstm_cell/kernel:0     a dataset
    /optimizer_weights                    unread

A list of names too long for one attribute goes on in layer_names0, layer_names1 and so on. What CuDNN's layers hold is
converted as it is read, by `cudnn_weights`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import h5py
import numpy as np

from everystep.errors import FileError, OptionError
from everystep.layers.base import Layer
from everystep.layers.composite import Composite
from everystep.layers.tensor import Array
from everystep.models import Model
from everystep.saved.build import built_model
from everystep.saved.cudnn_weights import cudnn_bias, from_cudnn
from everystep.saved.safe_hdf5 import (
    Strings,
    check_dataset,
    find_datasets,
    open_hdf5,
    refuse_indirect,
)
from everystep.saved.safe_json import parse

# Weights that no training step changes: Keras lists them after the others.
NON_TRAINABLE = ("moving_mean", "moving_variance", "mean", "variance", "count")
TOP = "top_level_model_weights"  # of a model itself, which has none


class Place(NamedTuple):
    """A weight of a model."""

    layer: Layer
    name: str


def load_legacy_h5(data: bytes, where: str) -> Model:
    """The model in a file of a whole one.

    Raises:
        FileError: the file is damaged, holds weights alone, or weights that are not those of its config.
        UnsupportedError: a layer, by its path, or an option, is not supported.
    """
    with open_hdf5(data, where) as file:
        strings = Strings(data)
        text = strings.of(file, "model_config")
        if text is None:
            if is_legacy(file) or "layers" in file or "_layer_checkpoint_dependencies" in file:
                raise FileError(
                    "it holds weights alone, and not the model that they are of. Build the model, or make it with "
                    "everystep.models.model_from_json, and call model.load_weights on this file"
                )
            raise FileError("it has no model_config: it is not a file that Keras saved a model in")
        config = parse(_one(text, "model_config").encode(), f"model_config of {where}")
        version = _version(file, strings)
    model = built_model(config, version, f"model_config of {where}")
    load_legacy_weights(model, data, where, by_name=False)
    return model


def is_legacy(file: h5py.File) -> bool:
    """Whether a file has weights by the names of layers, and not by Keras 3's paths."""
    names = ("layer_names", "layer_names0", "model_config")
    return "model_weights" in file or any(name in file.attrs for name in names)


def load_legacy_weights(model: Model, data: bytes, where: str, by_name: bool) -> None:
    """Gives a built model the weights of a file, of a whole model or of weights alone.

    Layers are matched by name where the file has just the names of the model, else in their order, as in Keras.

    Args:
        by_name: match by name always; what only one of the two has is left alone.

    Raises:
        FileError: the weights do not fit the model. OptionError: `by_name`, and no name is in both.
    """
    with open_hdf5(data, where) as file:
        root = "model_weights" if "model_weights" in file else ""
        skipped = {"optimizer_weights", f"{root}/{TOP}".lstrip("/")}
        datasets = find_datasets(file, skipped)
        stored = _stored(file, root, datasets, Strings(data))
        wanted: list[tuple[Layer, dict[str, tuple[str, h5py.Dataset]]]] = []
        for layer, paths in _matched(model, stored, by_name):
            for inner, names in _placed(layer, paths):
                wanted.append((inner, {name: (path, datasets[path]) for name, path in names.items()}))
        cudnn = [_check(layer, found, len(data)) for layer, found in wanted]
        needed = sum(dataset.size * dataset.dtype.itemsize for _, found in wanted for _, dataset in found.values())
        if needed > len(data):
            raise FileError(f"the weights take {needed} bytes, and the file has {len(data)}: they share data")
        read: dict[int, tuple[Layer, dict[str, Array]]] = {}
        for (layer, found), theirs in zip(wanted, cudnn, strict=True):
            arrays = {name: dataset[()] for name, (_, dataset) in found.items()}
            arrays = from_cudnn(layer, arrays) if theirs else arrays
            _, known = read.setdefault(id(layer), (layer, arrays))
            if any(not np.array_equal(known[name], array, equal_nan=True) for name, array in arrays.items()):
                raise FileError(f"layer {layer.name!r} is shared, and has other numbers in one place than in another")
    for layer, arrays in read.values():
        layer.set_weights([arrays[name] for name in layer.named_weights])


def _version(file: h5py.File, strings: Strings) -> str:
    """The Keras that wrote it; files without are Keras 1's."""
    for group in (file, file.get("model_weights", file)):
        version = strings.of(group, "keras_version")
        if version is not None:
            return _one(version, "keras_version")
    return "1"


def _one(strings: list[str], name: str) -> str:
    if len(strings) != 1:
        raise FileError(f"attribute {name!r} must be one string; it is {len(strings)}")
    return strings[0]


def _names(group: h5py.Group, name: str, strings: Strings) -> list[str]:
    """The names in an attribute, or in its pieces."""
    whole = strings.of(group, name)
    if whole is not None:
        return whole
    names: list[str] = []
    number = 0
    while (piece := strings.of(group, f"{name}{number}")) is not None:
        names += piece
        number += 1
    if not number:
        raise FileError(f"{group.name!r} has no {name!r}")
    return names


def _stored(file: h5py.File, root: str, datasets: dict[str, Any], strings: Strings) -> dict[str, list[str]]:
    """Each layer of the file that has weights -> the paths of its datasets, in order; every dataset is one's."""
    top = file[root] if root else file
    stored: dict[str, list[str]] = {}
    unlisted = set(datasets)
    for name in _names(top, "layer_names", strings):
        group = top.get(name) if not name.startswith("/") else None
        if not isinstance(group, h5py.Group) or name in stored:
            raise FileError(f"layer_names has {name!r}, which is no group of {top.name!r}, or is there twice")
        here = f"{root}/{name}".lstrip("/")
        stored[name] = []
        for weight in _names(group, "weight_names", strings):
            path = f"{here}/{weight}"  # checked at once: no more of them are kept than there are datasets
            if path not in datasets:
                raise FileError(f"it has no {path[:200]!r}, which a weight_names lists")
            if path not in unlisted:
                raise FileError(f"it has {path!r}, which a weight_names lists twice")
            unlisted.remove(path)
            stored[name].append(path)
    if unlisted:
        raise FileError(f"it has {min(unlisted)!r}, which no weight_names lists")
    return {name: paths for name, paths in stored.items() if paths}


def _matched(model: Model, stored: dict[str, list[str]], by_name: bool) -> Iterator[tuple[Layer, list[str]]]:
    """Each layer of the model that has weights, with the datasets for it."""
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    if by_name:
        both = [name for name in layers if name in stored]
        if not both:
            raise OptionError(
                f"model {model.name!r} and the file have no layer's name in common: the model has "
                f"{', '.join(layers) or 'none'}, the file {', '.join(stored) or 'none'}"
            )
        yield from ((layers[name], stored[name]) for name in both)
        return
    if len(layers) != len(stored):
        raise FileError(
            f"it has weights of {len(stored)} layers ({', '.join(stored)}), and model {model.name!r} has "
            f"{len(layers)} ({', '.join(layers)})"
        )
    if set(layers) == set(stored):
        yield from ((layer, stored[name]) for name, layer in layers.items())
    else:
        yield from zip(layers.values(), stored.values(), strict=True)


def _placed(layer: Layer, paths: list[str]) -> Iterator[tuple[Layer, dict[str, str]]]:
    """Each layer with weights in a layer or model -> the path of each of them, by its name."""
    trainable, others = legacy_order(layer)
    places = [*trainable, *others]
    if len(places) != len(paths):
        raise FileError(
            f"it has {len(paths)} weights for layer {layer.name!r}, which has {len(places)}: "
            f"{', '.join(place.name for place in places)}"
        )
    found: dict[int, tuple[Layer, dict[str, str]]] = {}
    for (inner, name), path in zip(places, paths, strict=True):
        found.setdefault(id(inner), (inner, {}))[1][name] = path
    yield from found.values()


def legacy_order(layer: Layer) -> tuple[list[Place], list[Place]]:
    """The weights of a layer or model as these files list them: trainable ones, then the others."""
    if isinstance(layer, Composite):
        parts = [legacy_order(one) for one in layer.inner]
        trainable, others = (list(dict.fromkeys(place for part in parts for place in part[k])) for k in (0, 1))
    else:
        places = [Place(layer, name) for name in layer.named_weights]
        trainable = [place for place in places if place.name not in NON_TRAINABLE]
        others = [place for place in places if place.name in NON_TRAINABLE]
    return (trainable, others) if layer.trainable else ([], trainable + others)


def _check(layer: Layer, found: dict[str, tuple[str, h5py.Dataset]], size: int) -> bool:
    """Checks datasets against the weights that they are for; whether they are laid out as CuDNN's are.

    Args:
        found: the path and the dataset of each weight, by its name.
        size: of the file, in bytes.
    """
    for path, dataset in found.values():
        refuse_indirect(path, dataset)
    bias = cudnn_bias(layer)
    theirs = bias is not None and "bias" in found and found["bias"][1].shape == bias
    for name, (path, dataset) in found.items():
        weight = layer.named_weights[name]
        shape = bias if theirs and bias and name == "bias" else weight.shape
        check_dataset(path, dataset, shape, str(weight.dtype), size)
    return theirs
