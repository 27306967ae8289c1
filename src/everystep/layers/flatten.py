"""All axes but the batch as one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.errors import OptionError, ShapeError, UnsupportedError
from everystep.layers.base import Layer

OBSTACLE = "it makes one vector of all time steps, which grows with every step"


class Flatten(Layer):
    """Keras's Flatten: (B,...) as (B,N), and (B) as (B,1). It makes an end of the mask, but of (B,N).

    Args:
        data_format: "channels_last", or "channels_first", by which axis 1 is put last before.
        options: of `Layer`.
    """

    config_names = ("data_format",)
    passes_mask = False
    any_dtype = True

    def __init__(self, data_format: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.data_format = "channels_last" if data_format is None else data_format
        if self.data_format not in ("channels_last", "channels_first"):
            raise OptionError(
                f"layer {self.name!r}: data_format must be 'channels_last' or 'channels_first'; got {data_format!r}"
            )

    def check(self, inputs: Any) -> None:
        if not len(inputs.shape):
            raise ShapeError(f"layer {self.name!r} takes (B,...); got a single number")

    def build(self, input_shape: Any) -> None:
        self._rank = len(input_shape)

    def apply_step(self, inputs_t: Array) -> Array:  # type: ignore[override]
        """A step (B) of (B,T), of which each number stays what it is."""
        if inputs_t.ndim > 1:  # of a call of more axes than the one it was built for
            raise UnsupportedError(f"layer {self.name!r} cannot go one step at a time: {OBSTACLE}")
        return inputs_t

    def apply(self, inputs: Array) -> Array:
        if self.data_format == "channels_first" and inputs.ndim > 1:
            inputs = np.moveaxis(inputs, 1, -1)
        return inputs.reshape(inputs.shape[0], math.prod(inputs.shape[1:]))

    def returns_its_input(self, before: Any, returned: Any) -> bool:
        return bool(before.shape == returned.shape)

    def step_obstacle(self) -> str | None:
        many = self.built and self._rank > 2
        return OBSTACLE if many else None

    def compute_output_shape(self, input_shape: Any) -> Any:
        others = input_shape[1:]
        return (input_shape[0], None if None in others else math.prod(others))

    def output_dtype(self, inputs: Any) -> str:
        return str(inputs.dtype)
