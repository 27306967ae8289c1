"""Steps repeated."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.layers.base import Layer
from everystep.layers.checks import whole_number
from everystep.layers.windows import check_sequences


class UpSampling1D(Layer):
    """Keras's UpSampling1D: each step of (B,T,I) n times, (B,n T,I).

    Args:
        size: n.
        options: of `Layer`.
    """

    config_names = ("size",)
    passes_mask = False  # as in Keras

    def __init__(self, size: int = 2, **options: Any) -> None:
        super().__init__(**options)
        self.size = whole_number(self.name, "size", size)

    def check(self, inputs: Any) -> None:
        super().check(inputs)
        check_sequences(self, inputs)

    def apply(self, inputs: Array) -> Array:
        return inputs if self.size == 1 else np.repeat(inputs, self.size, axis=1)

    def step_obstacle(self) -> str | None:
        return f"it makes {self.size} steps of each, and a step returns one" if self.size > 1 else None

    def compute_output_shape(self, input_shape: Any) -> Any:
        B, T, I = input_shape
        return B, None if T is None else T * self.size, I
