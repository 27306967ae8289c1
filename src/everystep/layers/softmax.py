"""Softmax as a layer, along any axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.errors import OptionError, ShapeError
from everystep.layers.activations import activate
from everystep.layers.base import Layer

FAR_BELOW = -1e9  # what Keras puts in the place of a masked number


class Softmax(Layer):
    """Keras's Softmax: exp(x), divided by its sum along an axis or some axes.

    Args:
        axis: one, or a list of them, counted with the batch axis, or from the last axis.
        options: of `Layer`.

    Call arguments:
        inputs: (B,...).
        mask: True where a number counts; of no more axes than the inputs, each of their size or 1. The others become 0.
    """

    config_names = ("axis",)
    call_arguments = ("inputs", "mask")

    def __init__(self, axis: Any = -1, **options: Any) -> None:
        super().__init__(**options)
        axes = axis if isinstance(axis, (list, tuple)) else [axis]
        if not axes or not all(isinstance(one, int) and not isinstance(one, bool) for one in axes):
            raise OptionError(f"layer {self.name!r}: axis must be a whole number, or a list of them; got {axis!r}")
        self.axis = axis

    def build(self, input_shape: Any) -> None:
        self._rank = len(input_shape)

    def check(self, inputs: Any) -> None:
        super().check(inputs)
        rank = len(inputs.shape)
        counted = [axis % rank if -rank <= axis < rank else 0 for axis in self._axes]
        if 0 in counted or len(set(counted)) < len(counted):
            raise ShapeError(
                f"layer {self.name!r} goes along axis {self.axis}, each once and none the batch; got "
                f"{tuple(inputs.shape)}"
            )

    @property
    def _axes(self) -> list[int]:
        return list(self.axis) if isinstance(self.axis, (list, tuple)) else [self.axis]

    def apply(self, inputs: Array, mask: Array | None = None) -> Array:
        return self._along(inputs.ndim, inputs, mask)

    def apply_step(self, inputs_t: Array, mask: Array | None = None) -> Array:  # type: ignore[override]
        return self._along(inputs_t.ndim + 1, inputs_t, mask)

    def _along(self, rank: int, inputs: Array, mask: Array | None) -> Array:
        """Along axes that are counted in a run, whose arrays have `rank` axes."""
        if inputs.ndim < 2:
            raise ShapeError(f"layer {self.name!r} goes along axis {self.axis}; got {inputs.shape}")
        return masked_softmax(self.name, inputs, [axis % rank - rank for axis in self._axes], mask)

    def step_obstacle(self) -> str | None:
        along_time = self.built and self._rank > 2 and 1 in [axis % self._rank for axis in self._axes]
        return "it goes along the time axis" if along_time else None


def masked_softmax(layer: str, x: Array, axes: list[int], mask: Array | None) -> Array:
    """Softmax along axes that are counted from the end, of the numbers where mask holds; the others become 0.

    Raises:
        ShapeError: the mask does not fit x.
    """
    if mask is not None:
        sizes = zip(mask.shape[::-1], x.shape[::-1], strict=False)
        if mask.ndim > x.ndim or any(a not in (1, b) for a, b in sizes):
            raise ShapeError(
                f"layer {layer!r}: the mask must have no more axes than its input, each of the input's size or 1; got "
                f"{mask.shape} for {x.shape}"
            )
        mask = mask if mask.dtype == bool else mask > 0.5
        x = np.where(mask, x, np.asarray(FAR_BELOW, x.dtype))
    last = list(range(-len(axes), 0))
    moved = np.moveaxis(x, axes, last)
    rows = np.ascontiguousarray(moved).reshape(*moved.shape[: x.ndim - len(axes)], math.prod(moved.shape[-len(axes) :]))
    y = np.moveaxis(activate("softmax", rows).reshape(moved.shape), last, axes)
    return np.ascontiguousarray(y if mask is None else np.where(mask, y, np.zeros((), x.dtype)))
