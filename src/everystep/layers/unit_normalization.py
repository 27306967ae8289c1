"""Each step scaled to length 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.layers.base import Layer
from everystep.layers.normalized_axes import axes_of, check_axes, from_end, sum_over, time_obstacle


class UnitNormalization(Layer):
    """Keras's UnitNormalization: x / |x|, the length over an axis or axes; 0 stays 0.

    Args:
        axis: the axis or axes.
        options: of `Layer`.
    """

    config_names = ("axis",)

    def __init__(self, axis: Any = -1, **options: Any) -> None:
        super().__init__(**options)
        self.axis = axis
        axes_of(self.name, axis)

    def build(self, input_shape: Any) -> None:
        self._axes = from_end(self.name, axes_of(self.name, self.axis), input_shape)

    def check(self, inputs: Any) -> None:
        super().check(inputs)
        if self.built:
            check_axes(self.name, axes_of(self.name, self.axis), inputs.shape, self.built_shape)

    def apply(self, inputs: Array) -> Array:
        factor = np.asarray(1, inputs.dtype) / np.sqrt(sum_over(np.square(inputs), self._axes))
        y: Array = inputs * np.minimum(factor, np.asarray(1e12, inputs.dtype))
        return y

    def step_obstacle(self) -> str | None:
        return time_obstacle(self._axes, len(self.built_shape)) if self.built else None
