"""Normalisation by the mean and variance that training found."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from everystep.engine import Array
from everystep.errors import OptionError
from everystep.layers.base import Layer, State
from everystep.layers.checks import check_flags
from everystep.layers.initializers import initializer
from everystep.layers.normalized_axes import along, axes_of, check_axes, from_end, time_obstacle


class BatchNormalization(Layer):
    """Keras's BatchNormalization where nothing is trained: (x - mean) / sqrt(variance + epsilon) gamma + beta.

    Mean and variance are the moving ones, of each place along an axis (Ioffe and Szegedy, 2015).

    Args:
        axis: see above.
        epsilon: see above.
        center, scale: whether there is a beta, a gamma.
        beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer: as in Keras.
        renorm: whether there are the weights of batch renormalisation, which change nothing here.
        momentum, renorm_clipping, renorm_momentum, synchronized, beta_regularizer, gamma_regularizer, beta_constraint,
            gamma_constraint: kept for `to_keras()`.
        options: of `Layer`.

    Weights, each of the size of the axis: gamma, beta, moving_mean, moving_variance; and with `renorm` moving_stddev,
    renorm_mean, renorm_stddev.
    """

    config_names = (
        "axis",
        "momentum",
        "epsilon",
        "center",
        "scale",
        "beta_initializer",
        "gamma_initializer",
        "moving_mean_initializer",
        "moving_variance_initializer",
        "beta_regularizer",
        "gamma_regularizer",
        "beta_constraint",
        "gamma_constraint",
        "synchronized",
        "renorm",
        "renorm_clipping",
        "renorm_momentum",
    )
    call_arguments: ClassVar[tuple[str, ...]] = ("inputs", "mask")

    def __init__(
        self,
        axis: Any = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Any = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        axes = axes_of(self.name, axis)
        if len(axes) != 1:
            raise OptionError(f"layer {self.name!r}: axis must be one whole number; got {axis!r}")
        (self.axis,) = axes
        self.momentum = float(momentum)
        self.epsilon = float(epsilon)
        self.center = center
        self.scale = scale
        self.beta_initializer = initializer(beta_initializer)
        self.gamma_initializer = initializer(gamma_initializer)
        self.moving_mean_initializer = initializer(moving_mean_initializer)
        self.moving_variance_initializer = initializer(moving_variance_initializer)
        self.beta_regularizer = beta_regularizer
        self.gamma_regularizer = gamma_regularizer
        self.beta_constraint = beta_constraint
        self.gamma_constraint = gamma_constraint
        self.renorm = renorm
        self.renorm_clipping = renorm_clipping
        self.renorm_momentum = renorm_momentum
        self.synchronized = synchronized
        check_flags(self, "center", "scale", "renorm", "synchronized")

    def build(self, input_shape: Any) -> None:
        self._axes = from_end(self.name, [self.axis], input_shape)
        drawn = {"gamma": self.gamma_initializer} if self.scale else {}
        drawn |= {"beta": self.beta_initializer} if self.center else {}
        drawn |= {"moving_mean": self.moving_mean_initializer, "moving_variance": self.moving_variance_initializer}
        for name, draw in drawn.items():
            self.add_weight(name, (input_shape[self.axis],), draw)
        if self.renorm:

            def deviation(shape: tuple[int, ...], dtype: str) -> Array:
                return np.sqrt(self.moving_variance_initializer(shape, dtype))

            self.add_weight("moving_stddev", (input_shape[self.axis],), deviation)
            self.add_weight("renorm_mean", (input_shape[self.axis],), self.moving_mean_initializer)
            self.add_weight("renorm_stddev", (input_shape[self.axis],), deviation)

    def check(self, inputs: Any) -> None:
        super().check(inputs)
        if self.built:
            check_axes(self.name, [self.axis], inputs.shape, self.built_shape)

    def run(  # type: ignore[override]
        self, inputs: Any, state: State = None, *, mask: Array | None = None
    ) -> tuple[Any, State]:
        """Whole sequences; the mask matters to training alone."""
        return super().run(inputs, state)

    def step(  # type: ignore[override]
        self, inputs_t: Any, state: State = None, *, mask: Array | None = None
    ) -> tuple[Any, State]:
        """One step."""
        return super().step(inputs_t, state)

    def apply(self, inputs: Array) -> Array:
        found = {name: along(weight, self._axes) for name, weight in self._weights.items()}
        mean, variance, gamma, beta = (
            found["moving_mean"],
            found["moving_variance"],
            found.get("gamma"),
            found.get("beta"),
        )
        factor = np.asarray(1, inputs.dtype) / np.sqrt(variance + np.asarray(self.epsilon, inputs.dtype))
        factor = factor if gamma is None else factor * gamma
        shift = -mean * factor if beta is None else beta - mean * factor
        y: Array = inputs * factor + shift
        return y

    def step_obstacle(self) -> str | None:
        return time_obstacle(self._axes, len(self.built_shape)) if self.built else None
