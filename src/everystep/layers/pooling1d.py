"""The largest number, or the average, of each feature in windows of time."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from everystep.engine import Array
from everystep.layers.windows import Windowed, one_number, one_of


class Pooling(Windowed):
    """The base: goes through the steps of all windows in their order, so that bits depend on a window alone.

    Args:
        pool_size: k, how many steps a window has.
        strides: how many steps the next one is on; None: pool_size.
        padding: "valid"; or "same", ceil(T / strides) outputs, whose windows at the ends have fewer steps.
        data_format: "channels_last", or "channels_first": (B,I,T) to (B,I,n), which cannot be streamed.
        options: of `Layer`.
    """

    config_names = ("pool_size", "padding", "strides", "data_format")
    combine: ClassVar[np.ufunc]

    def __init__(
        self,
        pool_size: Any,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.pool_size = one_number(self.name, "pool_size", pool_size)
        self.strides = self.pool_size if strides is None else one_number(self.name, "strides", strides)
        self.padding = one_of(self.name, "padding", padding, ("valid", "same"))
        self.set_windows(self.pool_size[0], self.strides[0], padding=self.padding, data_format=data_format)

    def over(self, x: Array, count: int, real: Array | None) -> Array:
        y = self.window.tap(x, count, 0).copy()
        for k in range(1, self.window.size):
            self.combine(y, self.window.tap(x, count, k), out=y)
        return y


class MaxPooling1D(Pooling):
    """Keras's MaxPooling1D: the largest number of each feature in a window, (B,T,I) to (B,n,I). Args: as `Pooling`."""

    fill = -np.inf
    combine = np.maximum

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, data_format, **options)


class AveragePooling1D(Pooling):
    """Keras's AveragePooling1D: the average of each feature in a window, of its steps that are of the sequence.

    (B,T,I) to (B,n,I). Args: as `Pooling`.
    """

    combine = np.add

    def over(self, x: Array, count: int, real: Array | None) -> Array:
        steps = np.full(count, self.window.size) if real is None else real
        y: Array = super().over(x, count, real) / steps.astype(x.dtype)[:, None]
        return y
