"""The axes in another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.errors import OptionError, ShapeError
from everystep.layers.base import Layer


class Permute(Layer):
    """Keras's Permute: the axes after the batch in another order. It makes an end of the mask,
    unless the order is the one that is there.

    Args:
        dims: (2, 1) makes (B,I,T) of (B,T,I): each axis once, counted from 1.
        options: of `Layer`.
    """

    config_names = ("dims",)
    passes_mask = False
    any_dtype = True

    def __init__(self, dims: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        whole = isinstance(dims, (list, tuple)) and all(type(axis) is int for axis in dims)
        if not whole or sorted(dims) != list(range(1, len(dims) + 1)):
            raise OptionError(f"layer {self.name!r}: dims must hold each axis from 1 on once, as (2, 1); got {dims!r}")
        self.dims = tuple(dims)

    def check(self, inputs: Any) -> None:
        if len(inputs.shape) != len(self.dims) + 1:
            raise ShapeError(
                f"layer {self.name!r} orders {len(self.dims)} axes after the batch; got {tuple(inputs.shape)}"
            )

    def apply(self, inputs: Array) -> Array:
        if inputs.ndim == len(self.dims):  # a step, whose time axis is the first and stays so
            return np.ascontiguousarray(np.transpose(inputs, (0, *(axis - 1 for axis in self.dims[1:]))))
        return np.ascontiguousarray(np.transpose(inputs, (0, *self.dims)))

    def returns_its_input(self, before: Any, returned: Any) -> bool:
        return self.dims == tuple(range(1, len(self.dims) + 1))

    def step_obstacle(self) -> str | None:
        return None if self.dims[:1] == (1,) else "it puts another axis in the place of time"

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], *(input_shape[axis] for axis in self.dims))

    def output_dtype(self, inputs: Any) -> str:
        return str(inputs.dtype)
