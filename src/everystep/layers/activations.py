"""Activations by name: the engine's elementwise ones, and those that look along the last axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep import engine
from everystep.cells import ACTIVATION_ALIASES, ACTIVATIONS
from everystep.engine import Array
from everystep.errors import UnsupportedError

ALONG_LAST_AXIS = ("softmax", "log_softmax")
REGISTERED = {"everystep>hard_sigmoid_keras2": "hard_sigmoid_keras2"}  # a function of everystep.keras -> its name


def activation_name(layer: str, argument: str, activation: Any, elementwise: bool = False) -> str:
    """The name of an activation as Keras's constructors and configs give it; None is "linear".

    Args:
        layer, argument: where it stands, for the message.
        activation: a name; or a function's serialized form, which holds one.
        elementwise: whether one that looks along an axis will not do.

    Raises:
        UnsupportedError: a function, or a name that everystep does not have.
    """
    known = ACTIVATIONS if elementwise else (*ACTIVATIONS, *ALONG_LAST_AXIS)
    name = "linear" if activation is None else activation
    if isinstance(name, dict):  # a function or layer as Keras serializes it; Keras's own functions are names
        name = REGISTERED.get(str(name.get("config")), name)
    if not isinstance(name, str):
        if isinstance(name, dict):  # a function's config is its name; a layer's is long
            own = name["config"] if isinstance(name.get("config"), str) else name.get("class_name")
        else:
            own = getattr(name, "__name__", type(name).__name__)
        raise UnsupportedError(
            f"layer {layer!r}: {argument} is a Python function or object, {own!r}; everystep knows activations by "
            f"name: {', '.join(known)}"
        )
    name = ACTIVATION_ALIASES.get(name, name)
    if name not in known:
        raise UnsupportedError(f"layer {layer!r}: {argument} {name!r} is not one of {', '.join(known)}")
    return name


def activate(name: str, x: Array) -> Array:
    """The activation of x, float32 or float64, contiguous; the bits of a row do not depend on the others."""
    if name not in ALONG_LAST_AXIS:
        return engine.activate(name, x)
    if not x.shape[-1]:
        return x
    shifted = x - x.max(axis=-1, keepdims=True)
    exponentials = engine.activate("exponential", shifted)
    total = exponentials.sum(axis=-1, keepdims=True)
    found: Array = shifted - np.log(total) if name == "log_softmax" else exponentials / total
    return found
