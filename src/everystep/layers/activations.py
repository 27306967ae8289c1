"""Activations by name: the engine's elementwise ones, and those that look along the last axis."""

from __future__ import annotations

from typing import Any, overload

import numpy as np

from everystep import engine
from everystep.cells import ACTIVATION_ALIASES, ACTIVATIONS
from everystep.engine import Array, PackedMatrix
from everystep.errors import ShapeError, UnsupportedError

ALONG_LAST_AXIS = ("softmax", "log_softmax", "sparsemax", "glu")
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
    if name == "threshold":
        raise UnsupportedError(
            f"layer {layer!r}: {argument} 'threshold' needs two numbers, threshold and default_value, which a name "
            "does not hold, so that no Keras model runs with it either. Between layers, ops.threshold has them"
        )
    if name not in known:
        raise UnsupportedError(f"layer {layer!r}: {argument} {name!r} is not one of {', '.join(known)}")
    return name


def activate(name: str, x: Array) -> Array:
    """The activation of x, float32 or float64, contiguous; the bits of a row do not depend on the others.

    Raises:
        ShapeError: glu of a last axis that has no two halves.
    """
    if name not in ALONG_LAST_AXIS:
        return engine.activate(name, x)
    if name == "glu":
        return _glu(x)
    if not x.shape[-1]:
        return x
    if name == "sparsemax":
        return _sparsemax(x)
    shifted = x - np.maximum.reduce(x, axis=-1, keepdims=True)
    exponentials = engine.activate("exponential", shifted)
    total = np.add.reduce(exponentials, axis=-1, keepdims=True)
    found: Array = shifted - np.log(total) if name == "log_softmax" else exponentials / total
    return found


def activated_product(x: Array, matrix: PackedMatrix, bias: Array | None, name: str) -> Array:
    """a(x W + b) for x (...,K), contiguous: `engine.product` with any activation, those along the last axis too."""
    if name not in ALONG_LAST_AXIS:
        return engine.product(x, matrix, bias, name)
    return activate(name, engine.product(x, matrix, bias, "linear"))


@overload
def size_after(name: str, size: int) -> int: ...
@overload
def size_after(name: str, size: None) -> None: ...
def size_after(name: str, size: int | None) -> int | None:
    """Of the last axis: glu halves it."""
    return size if size is None or name != "glu" else size // 2


def _glu(x: Array) -> Array:
    """a sigmoid(b), where a and b are the halves along the last axis (Dauphin et al., 2017)."""
    size = x.shape[-1]
    if size % 2:
        raise ShapeError(f"glu takes two halves along the last axis; got {x.shape}, whose last size is odd")
    return np.asarray(x[..., : size // 2] * engine.activate("sigmoid", np.ascontiguousarray(x[..., size // 2 :])))


def _sparsemax(x: Array) -> Array:
    """max(x - tau, 0), with tau as Keras 3.15.1 has it.

    The support is that of Martins & Astudillo (2016): the k largest numbers, as long as each is above (the sum of all
    up to it - 1) / its rank. Their tau is (the sum of the k - 1) / k; Keras's is (the sum of the k sums - 1) / k, so
    that what comes does not add up to 1 where k > 1. The numbers here are Keras's.
    """
    ordered = np.sort(x, axis=-1)[..., ::-1]
    sums = np.cumsum(ordered, axis=-1)
    one, zero = np.ones((), x.dtype), np.zeros((), x.dtype)
    ranks = np.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    support = ordered - (sums - one) / ranks > 0
    k = support.sum(axis=-1, keepdims=True).astype(x.dtype)
    inside = np.ascontiguousarray(np.where(support, sums, zero))
    return np.asarray(np.maximum(x - (inside.sum(axis=-1, keepdims=True) - one) / k, zero))
