"""Normalisation of each step by its own mean and variance."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.layers.base import Layer
from everystep.layers.checks import check_flags
from everystep.layers.initializers import initializer
from everystep.layers.normalized_axes import along, axes_of, check_axes, from_end, mean_over, time_obstacle


class LayerNormalization(Layer):
    """Keras's LayerNormalization: (x - mean) / sqrt(variance + epsilon) gamma + beta (Ba et al., 2016).

    Args:
        axis: the axis or axes that mean and variance are over.
        epsilon: see above.
        center, scale: whether there is a beta, a gamma.
        rms_scaling: x / sqrt(variance + epsilon) gamma, as Keras.
        beta_initializer, gamma_initializer: as in Keras.
        beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint: kept for `to_keras()`.
        options: of `Layer`.

    Weights: gamma and beta, of the sizes of the axes.
    """

    config_names = (
        "axis",
        "epsilon",
        "center",
        "scale",
        "rms_scaling",
        "beta_initializer",
        "gamma_initializer",
        "beta_regularizer",
        "gamma_regularizer",
        "beta_constraint",
        "gamma_constraint",
    )

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        rms_scaling: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.axis = axis
        axes_of(self.name, axis)
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.rms_scaling = rms_scaling
        check_flags(self, "center", "scale", "rms_scaling")
        self.beta_initializer = initializer(beta_initializer)
        self.gamma_initializer = initializer(gamma_initializer)
        self.beta_regularizer = beta_regularizer
        self.gamma_regularizer = gamma_regularizer
        self.beta_constraint = beta_constraint
        self.gamma_constraint = gamma_constraint

    def build(self, input_shape: Any) -> None:
        self._axes = from_end(self.name, axes_of(self.name, self.axis), input_shape)
        # In Keras's order, in which -1 comes before 1, though the numbers are laid along the axes in theirs.
        shape = tuple(input_shape[axis] for axis in sorted(axes_of(self.name, self.axis)))
        if self.scale or self.rms_scaling:
            self.add_weight("gamma", shape, self.gamma_initializer)
        if self.center and not self.rms_scaling:
            self.add_weight("beta", shape, self.beta_initializer)

    def check(self, inputs: Any) -> None:
        super().check(inputs)
        if self.built:
            check_axes(self.name, axes_of(self.name, self.axis), inputs.shape, self.built_shape)

    def apply(self, inputs: Array) -> Array:
        mean = mean_over(inputs, self._axes)
        variance = mean_over(np.square(inputs - mean), self._axes)
        one = np.asarray(1, inputs.dtype)
        factor = one / np.sqrt(variance + np.asarray(self.epsilon, inputs.dtype))
        if "gamma" in self._weights:
            factor = factor * self._weight("gamma")
        y: Array = inputs * factor if self.rms_scaling else inputs * factor - mean * factor
        return y + self._weight("beta") if "beta" in self._weights else y

    def _weight(self, name: str) -> Array:
        sizes = [self.built_shape[axis] for axis in self._axes]
        return along(self._weights[name].reshape(sizes), self._axes)

    def step_obstacle(self) -> str | None:
        return time_obstacle(self._axes, len(self.built_shape)) if self.built else None
