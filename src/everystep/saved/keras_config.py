"""A live Keras model as one of ours. It is known by what it can do; Keras itself is not imported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from everystep.errors import OptionError, UnsupportedError
from everystep.layers.base import Layer
from everystep.layers.naming import with_article
from everystep.layers.operation import Config
from everystep.models import Model
from everystep.models.reader import FUNCTIONAL, SEQUENTIAL, from_serialized


def from_keras(model: Any) -> Model:
    """A copy of a live Keras model that runs on NumPy and the engine; `model.to_keras()` goes back.

    Stock Keras layers and those of `everystep.keras` both come over, nested and shared ones too.

    Args:
        model: a functional model or a Sequential that knows its input.

    Raises:
        OptionError: it is no Keras model. UnsupportedError: a layer, or what it is made with, is not supported; the
            message has the layer's path.
    """
    if not all(hasattr(model, name) for name in ("get_config", "layers", "get_weights", "built")):
        raise OptionError(f"from_keras takes a live Keras model; got {type(model).__name__}")
    if isinstance(model, Model):
        raise OptionError(f"model {model.name!r} is an everystep model already")
    if not model.built:
        raise OptionError(
            f"Keras model {model.name!r} has no weights yet: call it on its inputs, or begin with an Input"
        )
    live = dict(_walk(model, ""))
    for path, layer in live.items():
        _check_activations(layer, path)
    first: dict[int, str] = {}
    shared = {path: first[id(layer)] for path, layer in live.items() if first.setdefault(id(layer), path) != path}
    copy = from_serialized(_serialized(model), shared)
    for path, layer in _walk(copy, ""):
        if not hasattr(layer, "layers") and path not in shared:
            _copy_weights(live[path], layer, path)
    return copy


def _serialized(model: Any) -> Config:
    """{"module", "class_name", "config"} of a live model, as Keras would write it."""
    kind = type(model)
    known = [(module, name) for module, name in (*FUNCTIONAL, *SEQUENTIAL) if name == kind.__name__]
    if not known or kind.__module__.split(".")[0] not in ("keras", "everystep"):
        raise UnsupportedError(
            f"{model.name!r} is {with_article(kind.__name__)} ({kind.__module__}); supported are functional "
            "models and Sequential. Build it with the functional API"
        )
    return {"module": known[0][0], "class_name": known[0][1], "config": model.get_config()}


def _walk(model: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every layer of a model with its path, in the order in which a config lists them; those of a nested one first."""
    for layer in model.layers:
        here = f"{path}{layer.name}"
        if hasattr(layer, "layers"):
            yield from _walk(layer, f"{here}/")
        yield here, layer


def _check_activations(layer: Any, path: str) -> None:
    """Raises for a function of the user's own: a config holds but its name, which may be that of one of Keras's."""
    for argument in ("activation", "recurrent_activation"):
        function = getattr(layer, argument, None)
        if function is not None and function.__module__.split(".")[0] not in ("keras", "everystep"):
            name = getattr(function, "__name__", type(function).__name__)
            raise UnsupportedError(
                f"layer {path!r}: {argument} {name!r} is a function of {function.__module__}; everystep has those that "
                "Keras names. Use one of them"
            )
    for inner in _wrapped(layer):
        _check_activations(inner, f"{path}/{inner.name}")


def _wrapped(layer: Any) -> list[Any]:
    """The layers and cells that a layer is made of, which no model lists."""
    names = ("forward_layer", "backward_layer", "layer", "cell")
    inner = [getattr(layer, name) for name in names if hasattr(getattr(layer, name, None), "get_config")]
    return [*inner, *getattr(layer, "cells", ())]


def _copy_weights(source: Any, target: Layer, path: str) -> None:
    weights = [np.asarray(weight) for weight in source.get_weights()]
    if len(weights) != len(target.weights):
        raise UnsupportedError(
            f"Keras's layer {path!r} has {len(weights)} weights, and everystep's {type(target).__name__} "
            f"{len(target.weights)}: is it quantized, or does it use LoRA?"
        )
    target.set_weights(weights)
