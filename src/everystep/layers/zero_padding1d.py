"""Zeros at the ends of a sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.layers.base import Layer
from everystep.layers.windows import FORMATS, check_sequences, data_format_of, time_second, two_numbers


class ZeroPadding1D(Layer):
    """Keras's ZeroPadding1D: a steps of zeros before (B,T,I), and b after it.

    Args:
        padding: a and b; or one number for both.
        data_format: "channels_last", or "channels_first": (B,I,T).
        options: of `Layer`.
    """

    config_names = ("padding", "data_format")
    passes_mask = False  # as in Keras

    def __init__(self, padding: Any = 1, data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.padding = two_numbers(self.name, "padding", padding)
        self.data_format = data_format_of(self.name, data_format)

    def check(self, inputs: Any) -> None:
        super().check(inputs)
        check_sequences(self, inputs, self.data_format)

    def apply(self, inputs: Array) -> Array:
        if not any(self.padding):  # of a step too
            return inputs
        padded = np.pad(time_second(inputs, self.data_format), ((0, 0), self.padding, (0, 0)))
        return np.ascontiguousarray(time_second(padded, self.data_format))

    def step_obstacle(self) -> str | None:
        a, b = self.padding
        if b:
            return "it puts zeros after the sequence, whose newest step would always be zero"
        if a:
            return "it puts steps before the sequence that no step brings; a convolution can, with padding='causal'"
        return None

    def compute_output_shape(self, input_shape: Any) -> Any:
        axis = 1 if self.data_format == FORMATS[0] else 2
        T = input_shape[axis]
        T = None if T is None else T + sum(self.padding)
        return (*input_shape[:axis], T, *input_shape[axis + 1 :])
