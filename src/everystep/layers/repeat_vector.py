"""One vector, as a sequence of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.errors import ShapeError
from everystep.layers.base import Layer
from everystep.layers.checks import whole_number


class RepeatVector(Layer):
    """Keras's RepeatVector: (B,I) n times, (B,n,I). It makes an end of the mask.

    Args:
        n: how many times.
        options: of `Layer`.
    """

    config_names = ("n",)
    passes_mask = False

    def __init__(self, n: int, **options: Any) -> None:
        super().__init__(**options)
        self.n = whole_number(self.name, "n", n)

    def check(self, inputs: Any) -> None:
        super().check(inputs)
        if len(inputs.shape) != 2:
            raise ShapeError(f"layer {self.name!r} takes vectors (B,I); got {tuple(inputs.shape)}")

    def apply(self, inputs: Array) -> Array:
        return np.repeat(inputs[:, None], self.n, axis=1)

    def step_obstacle(self) -> str | None:
        return "it makes a sequence of a vector, and takes none"

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self.n, input_shape[1])
