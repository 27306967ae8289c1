"""Every activation by its definition, with its slope: both as functions of the number before the activation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Function = Callable[[Any], Any]


class Activation(NamedTuple):
    value: Function
    slope: Function

    def __call__(self, z: Any) -> Any:
        return self.value(z)


_erf = np.vectorize(math.erf, otypes=[float])
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def _sigmoid(z: Array) -> Array:
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


def _softplus(z: Array) -> Array:
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def _inside(z: Array, low: float, high: float) -> Array:
    return ((z > low) & (z < high)).astype(z.dtype)


def _expm1(z: Array) -> Array:
    return np.expm1(np.minimum(z, 0))


def _mish_slope(z: Array) -> Array:
    t = np.tanh(_softplus(z))
    return t + z * (1 - t * t) * _sigmoid(z)


def _gelu_slope(z: Array) -> Array:
    return 0.5 * (1 + _erf(z / math.sqrt(2))) + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


_DEFINITIONS: dict[str, tuple[Function, Function]] = {
    "linear": (lambda z: z, np.ones_like),
    "sigmoid": (_sigmoid, lambda z: _sigmoid(z) * _sigmoid(-z)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: _inside(z, 0, np.inf)),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.2 * z), lambda z: np.where(z > 0, 1, 0.2)),
    "relu6": (lambda z: np.clip(z, 0, 6), lambda z: _inside(z, 0, 6)),
    "elu": (lambda z: np.where(z > 0, z, _expm1(z)), lambda z: np.where(z > 0, 1, np.exp(np.minimum(z, 0)))),
    "selu": (
        lambda z: _SELU_SCALE * np.where(z > 0, z, _SELU_ALPHA * _expm1(z)),
        lambda z: _SELU_SCALE * np.where(z > 0, 1, _SELU_ALPHA * np.exp(np.minimum(z, 0))),
    ),
    "celu": (lambda z: np.where(z > 0, z, _expm1(z)), lambda z: np.where(z > 0, 1, np.exp(np.minimum(z, 0)))),
    "exponential": (np.exp, np.exp),
    "softplus": (_softplus, _sigmoid),
    "softsign": (lambda z: z / (1 + np.abs(z)), lambda z: 1 / (1 + np.abs(z)) ** 2),
    "squareplus": (lambda z: (z + np.sqrt(z * z + 4)) / 2, lambda z: (1 + z / np.sqrt(z * z + 4)) / 2),
    "soft_shrink": (
        lambda z: np.sign(z) * np.maximum(np.abs(z) - 0.5, 0),
        lambda z: _inside(-np.abs(z), -np.inf, -0.5),
    ),
    "hard_shrink": (lambda z: np.where(np.abs(z) > 0.5, z, 0), lambda z: _inside(-np.abs(z), -np.inf, -0.5)),
    "tanh_shrink": (lambda z: z - np.tanh(z), lambda z: np.tanh(z) ** 2),
    "sparse_plus": (
        lambda z: np.where(z <= -1, 0, np.where(z >= 1, z, (z + 1) ** 2 / 4)),
        lambda z: np.clip((z + 1) / 2, 0, 1),
    ),
    "sparse_sigmoid": (lambda z: np.clip((z + 1) / 2, 0, 1), lambda z: 0.5 * _inside(z, -1, 1)),
    "silu": (lambda z: z * _sigmoid(z), lambda z: _sigmoid(z) * (1 + z * _sigmoid(-z))),
    "gelu": (lambda z: z * 0.5 * (1 + _erf(z / math.sqrt(2))), _gelu_slope),
    "mish": (lambda z: z * np.tanh(_softplus(z)), _mish_slope),
    "log_sigmoid": (lambda z: -_softplus(-z), lambda z: _sigmoid(-z)),
    "hard_sigmoid": (lambda z: np.clip(z / 6 + 0.5, 0, 1), lambda z: _inside(z, -3, 3) / 6),
    "hard_sigmoid_keras2": (lambda z: np.clip(0.2 * z + 0.5, 0, 1), lambda z: 0.2 * _inside(z, -2.5, 2.5)),
    "hard_silu": (
        lambda z: z * np.clip(z / 6 + 0.5, 0, 1),
        lambda z: np.clip(z / 6 + 0.5, 0, 1) + z * _inside(z, -3, 3) / 6,
    ),
    "hard_tanh": (lambda z: np.clip(z, -1, 1), lambda z: _inside(z, -1, 1)),
}
ACTIVATIONS = {name: Activation(value, slope) for name, (value, slope) in _DEFINITIONS.items()}
