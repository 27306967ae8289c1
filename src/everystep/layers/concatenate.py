"""Several arrays side by side."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.errors import DtypeError, OptionError, ShapeError
from everystep.layers import masks
from everystep.layers.base import Layer
from everystep.layers.checks import shapes_of, sizes_fit
from everystep.layers.masks import any_feature, joined_shape


class Concatenate(Layer):
    """Keras's Concatenate: a list of arrays, one after the other along an axis.

    Args:
        axis: counted with the batch axis, or from the last axis.
        options: of `Layer`.
    """

    config_names = ("axis",)

    any_dtype = True

    def __init__(self, axis: int = -1, **options: Any) -> None:
        super().__init__(**options)
        if isinstance(axis, bool) or not isinstance(axis, int):
            raise OptionError(f"layer {self.name!r}: axis must be a whole number; got {axis!r}")
        self.axis = axis

    def build(self, input_shape: Any) -> None:
        self._rank = len(input_shape[0])

    def check(self, inputs: Any) -> None:
        if not isinstance(inputs, (list, tuple)) or not inputs:
            raise ShapeError(f"layer {self.name!r} takes a list of arrays; got {type(inputs).__name__}")
        if len({str(value.dtype) for value in inputs}) > 1:
            raise DtypeError(
                f"layer {self.name!r} takes arrays of one dtype; got {', '.join(str(v.dtype) for v in inputs)}"
            )
        shapes = shapes_of(inputs)
        rank = len(shapes[0])
        fits = -rank <= self.axis < rank and all(len(shape) == rank for shape in shapes)
        if fits:
            others = [tuple(np.delete(np.array(shape, object), self.axis)) for shape in shapes]
            fits = all(sizes_fit(other, others[0]) for other in others)
        if not fits:
            raise ShapeError(
                f"layer {self.name!r} takes arrays that differ along axis {self.axis} alone; got "
                f"{', '.join(map(str, shapes))}"
            )

    def apply(self, inputs: list[Array]) -> Array:
        return np.concatenate(inputs, axis=self.axis_of(inputs))

    def axis_of(self, inputs: list[Any]) -> int:
        """The axis, which counts one less in a step, whose arrays have no time axis."""
        in_step = self.axis > 0 and self.built and len(inputs[0].shape) < self._rank
        return self.axis - in_step

    def step_obstacle(self) -> str | None:
        along_time = self.built and self._rank > 2 and self.axis % self._rank == 1
        return "it joins sequences along the time axis" if along_time else None

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        if mask is None or all(one is None for one in mask):
            return None
        full = []
        for value, its_mask in zip(inputs, mask, strict=True):
            if its_mask is None:
                full.append(masks.apply("OnesLike", value, dtype="bool"))
            elif its_mask.ndim < value.ndim:
                per_step = masks.apply("ExpandDims", its_mask, axis=-1)
                zeros = masks.apply("ZerosLike", value, dtype="bool")
                full.append(masks.apply("LogicalOr", per_step, zeros))
            else:
                full.append(its_mask)
        return any_feature(masks.apply("Concatenate", full, axis=self.axis_of(inputs)))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return joined_shape(input_shape, self.axis)

    def output_dtype(self, inputs: Any) -> str:
        return str(inputs[0].dtype)


def concatenate(inputs: Any, axis: int = -1, **options: Any) -> Any:
    """Of a list: `Concatenate(axis, **options)(inputs)`."""
    return Concatenate(axis=axis, **options)(inputs)
