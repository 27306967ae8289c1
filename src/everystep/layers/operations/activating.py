"""Activations as functions between the layers: the engine's, in its bits, and those that have numbers of their own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.errors import ShapeError
from everystep.layers.activations import activate
from everystep.layers.operations.kind import (
    NN,
    NUMPY,
    Kind,
    along,
    as_dtype,
    axis_in,
    float_dtype,
    number_dtype,
    unchanged,
)
from everystep.layers.tensor import Shape


def _float_of(x: Any, **options: Any) -> str:
    return float_dtype(x)


def _named(name: str) -> Kind:
    def run(x: Any) -> Any:
        return activate(name, np.ascontiguousarray(as_dtype(x, float_dtype(x))))

    return Kind(run, unchanged, float_dtype, module=NN)


def _along(name: str, shape: Callable[..., Shape] = unchanged) -> Kind:
    def run(x: Any, axis: int) -> Any:
        moved = np.moveaxis(as_dtype(x, float_dtype(x)), axis, -1)
        return np.moveaxis(activate(name, np.ascontiguousarray(moved)), -1, axis)

    return Kind(run, shape, _float_of, along, {"axis": -1}, module=NN)


def _with_numbers(function: Callable[..., Any], **options: Any) -> Kind:
    """A function of an array of floats, contiguous, and of the options, which are numbers of its dtype."""

    def run(x: Any, **given: Any) -> Any:
        x = np.ascontiguousarray(as_dtype(x, float_dtype(x)))
        numbers = {key: value if isinstance(value, bool) else x.dtype.type(value) for key, value in given.items()}
        return function(x, **numbers)

    return Kind(run, unchanged, _float_of, options=options, module=NN)


def _relu(x: Any) -> Any:
    x = as_dtype(x, number_dtype(x))
    return np.maximum(x, x.dtype.type(0))


def _leaky_relu(x: Array, negative_slope: Any) -> Any:
    return np.where(x >= 0, x, x * negative_slope)


def _elu(x: Array, alpha: Any) -> Any:
    return np.where(x > 0, x, alpha * activate("elu", np.minimum(x, x.dtype.type(0))))


def _celu(x: Array, alpha: Any) -> Any:
    return np.where(x > 0, x, alpha * activate("elu", np.minimum(x, x.dtype.type(0)) / alpha))


def _gelu(x: Array, approximate: bool) -> Any:
    """x P(X <= x) of a standard normal X; or what Hendrycks & Gimpel (2016) put in its place."""
    if not approximate:
        return activate("gelu", x)
    half, one = x.dtype.type(0.5), x.dtype.type(1)
    inner = x.dtype.type(math.sqrt(2 / math.pi)) * (x + x.dtype.type(0.044715) * (x * x * x))
    return x * (half * (one + activate("tanh", inner)))


def _squareplus(x: Array, b: Any) -> Any:
    return (x + np.sqrt(x * x + b)) * x.dtype.type(0.5)


def _threshold(x: Array, threshold: Any, default_value: Any) -> Any:
    return np.where(x > threshold, x, default_value)


def _halved(x: Shape, axis: int) -> Shape:
    at = axis_in(axis, len(x))
    size = x[at]
    if size is not None and size % 2:
        raise ShapeError(f"glu takes two halves along axis {axis}; got {x}, whose size there is odd")
    return (*x[:at], None if size is None else size // 2, *x[at + 1 :])


ACTIVATING: dict[str, Kind] = {
    "Tanh": _named("tanh")._replace(module=NUMPY),
    "Relu": Kind(_relu, unchanged, number_dtype, module=NN),
    "LeakyRelu": _with_numbers(_leaky_relu, negative_slope=0.2),
    "Elu": _with_numbers(_elu, alpha=1.0),
    "Celu": _with_numbers(_celu, alpha=1.0),
    "Gelu": _with_numbers(_gelu, approximate=True),
    "Squareplus": _with_numbers(_squareplus, b=4),
    "Threshold": _with_numbers(_threshold, threshold=None, default_value=None),
    **{
        kind: _named(name)
        for kind, name in {
            "Sigmoid": "sigmoid",
            "LogSigmoid": "log_sigmoid",
            "HardSigmoid": "hard_sigmoid",
            "HardSilu": "hard_silu",
            "HardTanh": "hard_tanh",
            "Softplus": "softplus",
            "Softsign": "softsign",
            "Silu": "silu",
            "Selu": "selu",
            "Relu6": "relu6",
        }.items()
    },
    "Softmax": _along("softmax"),
    "LogSoftmax": _along("log_softmax"),
    "Sparsemax": _along("sparsemax"),
    "Glu": _along("glu", _halved),
}
