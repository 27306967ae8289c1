"""Features brought to mean 0 and variance 1 by numbers known beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.errors import OptionError, ShapeError
from everystep.layers.checks import check_flags
from everystep.layers.initializers import Initializer
from everystep.layers.normalized_axes import along, axes_of, check_axes, from_end, time_obstacle
from everystep.layers.rescaling import AnyNumbers, numbers

LEAST = 1e-7  # Keras's epsilon: no deviation is less


class Normalization(AnyNumbers):
    """Keras's Normalization: (x - mean) / sqrt(variance); with `invert` x sqrt(variance) + mean.

    Args:
        axis: the axis or axes along which each place has a mean and variance of its own; None: one for all.
        mean, variance: numbers that broadcast to the sizes of the axes; None: they are weights.
        invert: see above.
        options: of `Layer`.

    Weights, without `mean` and `variance`: mean and variance, of the sizes of the axes, and count (), int32, unused.
    """

    config_names = ("axis", "invert", "mean", "variance")

    def __init__(
        self, axis: Any = -1, mean: Any = None, variance: Any = None, invert: bool = False, **options: Any
    ) -> None:
        super().__init__(**options)
        self.axis = () if axis is None else tuple(axes_of(self.name, axis))
        self.invert = invert
        check_flags(self, "invert")
        if (mean is None) != (variance is None) or np.shape(mean) != np.shape(variance):
            raise OptionError(f"layer {self.name!r}: mean and variance go together, of one shape")
        self.mean = None if mean is None else numbers(self.name, "mean", mean)
        self.variance = None if variance is None else numbers(self.name, "variance", variance)
        if np.ndim(mean) > len(self.axis):
            raise OptionError(f"layer {self.name!r}: mean has {np.ndim(mean)} axes; axis names {len(self.axis)}")

    def build(self, input_shape: Any) -> None:
        self._axes = from_end(self.name, list(self.axis), input_shape)
        self._sizes = tuple(input_shape[axis] for axis in self._axes)
        if self.mean is None:
            self.add_weight("mean", self._sizes, Initializer("zeros"))
            self.add_weight("variance", self._sizes, Initializer("ones"))
            self.add_weight("count", (), Initializer("zeros"), dtype="int32")
        else:
            try:
                np.broadcast_to(self.mean, self._sizes)
            except ValueError:
                raise ShapeError(
                    f"layer {self.name!r}: mean of shape {np.shape(self.mean)} does not broadcast to {self._sizes}, "
                    f"the axes {self.axis} of the input {tuple(input_shape)}"
                ) from None

    def check(self, inputs: Any) -> None:
        super().check(inputs)
        if self.built:
            check_axes(self.name, list(self.axis), inputs.shape, self.built_shape)

    def apply(self, inputs: Array) -> Array:
        given = self._weights if self.mean is None else {"mean": self.mean, "variance": self.variance}
        full = (np.broadcast_to(np.asarray(given[name], self.dtype), self._sizes) for name in ("mean", "variance"))
        mean, variance = (along(one, self._axes) if self._axes else one for one in full)
        deviation = np.maximum(np.sqrt(variance), np.asarray(LEAST, self.dtype))
        x = inputs.astype(self.dtype)
        y: Array = mean + x * deviation if self.invert else (x - mean) / deviation
        return y

    def step_obstacle(self) -> str | None:
        return time_obstacle(self._axes, len(self.built_shape)) if self.built else None
