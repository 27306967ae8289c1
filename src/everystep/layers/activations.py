"""Activations by name: the engine's elementwise ones, and those that look along the last axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep import engine
from everystep.cells import ACTIVATION_ALIASES, ACTIVATIONS
from everystep.engine import Array
from everystep.errors import UnsupportedError

ALONG_LAST_AXIS = ("softmax", "log_softmax")


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
    if isinstance(name, dict):  # {"class_name": "function", "config": its name, ...}
        name = name.get("config")
    if not isinstance(name, str):
        name = getattr(activation, "__name__", type(activation).__name__)
        raise UnsupportedError(
            f"layer {layer!r}: {argument} is a Python object, {name!r}; everystep knows activations by name: "
            f"{', '.join(known)}"
        )
    name = ACTIVATION_ALIASES.get(name, name)
    if name not in known:
        raise UnsupportedError(f"layer {layer!r}: {argument} {name!r} is not one of {', '.join(known)}")
    return name


def activate(name: str, x: Array, out: Array | None = None) -> Array:
    """The activation of x, float32 or float64, contiguous; the bits of a row do not depend on the others."""
    if name not in ALONG_LAST_AXIS:
        return engine.activate(name, x, out=out)
    if not x.shape[-1]:
        return x
    shifted = x - x.max(axis=-1, keepdims=True)
    exponentials = engine.activate("exponential", shifted)
    total = exponentials.sum(axis=-1, keepdims=True)
    if name == "log_softmax":
        return np.subtract(shifted, np.log(total), out=out)
    return np.divide(exponentials, total, out=out)
