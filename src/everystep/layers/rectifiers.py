"""Rectifiers as layers: ReLU and its kin, each with its numbers. All act on every number by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from everystep import engine
from everystep.engine import Array
from everystep.errors import OptionError, ShapeError
from everystep.layers.base import Layer
from everystep.layers.initializers import initializer


class ReLU(Layer):
    """Keras's ReLU: x from `threshold` to `max_value`, max_value beyond, and negative_slope (x - threshold) below.

    Args:
        max_value: from 0 on, or None for no end. negative_slope, threshold: from 0 on.
        options: of `Layer`.
    """

    config_names = ("max_value", "negative_slope", "threshold")

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **options: Any
    ) -> None:
        super().__init__(**options)
        self.max_value = None if max_value is None else not_negative(self.name, "max_value", max_value)
        self.negative_slope = not_negative(self.name, "negative_slope", negative_slope)
        self.threshold = not_negative(self.name, "threshold", threshold)

    def apply(self, inputs: Array) -> Array:
        slope, threshold, zero = (np.asarray(v, self.dtype) for v in (self.negative_slope, self.threshold, 0))
        y = np.where(inputs > threshold, inputs, zero) if threshold else np.maximum(inputs, zero)
        if self.max_value is not None:
            y = np.minimum(y, np.asarray(self.max_value, self.dtype))
        return np.asarray(y - slope * np.maximum(threshold - inputs, zero)) if slope else y


class LeakyReLU(Layer):
    """Keras's LeakyReLU: x from 0 on, and negative_slope x below.

    Args:
        negative_slope: from 0 on. alpha: its name in Keras 2.
        options: of `Layer`.
    """

    config_names = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.3, alpha: float | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.negative_slope = not_negative(self.name, "negative_slope", negative_slope if alpha is None else alpha)

    def apply(self, inputs: Array) -> Array:
        return np.where(inputs >= 0, inputs, np.asarray(self.negative_slope, self.dtype) * inputs)


class ELU(Layer):
    """Keras's ELU: x above 0, and alpha (exp(x) - 1) below.

    Args:
        alpha: a number.
        options: of `Layer`.
    """

    config_names = ("alpha",)

    def __init__(self, alpha: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.alpha = number(self.name, "alpha", alpha)

    def apply(self, inputs: Array) -> Array:
        below = engine.activate("elu", np.minimum(inputs, np.zeros((), self.dtype), order="C"))
        return np.where(inputs > 0, inputs, np.asarray(self.alpha, self.dtype) * below)


class PReLU(Layer):
    """Keras's PReLU: x from 0 on, and alpha x below, where alpha is a weight.

    Args:
        alpha_initializer: of alpha. alpha_regularizer, alpha_constraint: kept.
        shared_axes: along which there is one alpha, as 1 for the same at every time step; None: one for every number
            of a row.
        options: of `Layer`.

    Weights: alpha, of the shape of a row, with 1 along the shared axes.
    """

    config_names = ("alpha_initializer", "alpha_regularizer", "alpha_constraint", "shared_axes")

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.alpha_initializer = initializer(alpha_initializer)
        self.alpha_regularizer = alpha_regularizer
        self.alpha_constraint = alpha_constraint
        shared = shared_axes if isinstance(shared_axes, (list, tuple, type(None))) else [shared_axes]
        if shared is not None and not all(isinstance(axis, int) and axis > 0 for axis in shared):
            raise OptionError(f"layer {self.name!r}: shared_axes must be axes from 1 on; got {shared_axes!r}")
        self.shared_axes = None if shared is None else list(shared)

    def build(self, input_shape: Any) -> None:
        self.add_weight("alpha", self._alpha_shape(input_shape), self.alpha_initializer)

    def check(self, inputs: Any) -> None:
        super().check(inputs)
        shape = self._alpha_shape(tuple(inputs.shape))
        if self.built and shape != self._weights["alpha"].shape:
            raise ShapeError(
                f"layer {self.name!r} has alphas of shape {self._weights['alpha'].shape}; its input {inputs.shape} "
                f"asks for {shape}"
            )

    def _alpha_shape(self, input_shape: Any) -> tuple[int, ...]:
        shared = self.shared_axes or []
        if any(axis >= len(input_shape) for axis in shared):
            raise ShapeError(f"layer {self.name!r} has shared_axes {shared}; its input has the axes of {input_shape}")
        shape = [1 if axis in shared else size for axis, size in enumerate(input_shape) if axis]
        if None in shape:
            raise ShapeError(
                f"layer {self.name!r} has an alpha for each number of {input_shape}, of which a size is not known: "
                "share alpha along that axis with shared_axes"
            )
        return tuple(shape)

    def apply(self, inputs: Array) -> Array:
        alpha, zero = self._weights["alpha"], np.zeros((), self.dtype)
        alpha = alpha[0] if inputs.ndim == alpha.ndim else alpha  # a step
        return np.asarray(np.maximum(inputs, zero) - alpha * np.maximum(-inputs, zero))

    def step_obstacle(self) -> str | None:
        by_step = self.built and self._weights["alpha"].ndim > 1 and 1 not in (self.shared_axes or [])
        return "it has another alpha at each time step: share them with shared_axes=[1]" if by_step else None


def number(layer: str, argument: str, value: Any) -> float:
    """Raises OptionError unless value is a number; the number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
        raise OptionError(f"layer {layer!r}: {argument} must be a number; got {value!r}")
    return float(value)


def not_negative(layer: str, argument: str, value: Any) -> float:
    """Raises OptionError unless value is a number from 0 on; the number."""
    if not number(layer, argument, value) >= 0:
        raise OptionError(f"layer {layer!r}: {argument} must be a number from 0 on; got {value!r}")
    return float(value)
