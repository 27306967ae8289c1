"""Which axes a layer normalises over, and sums along them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.errors import OptionError, ShapeError


def axes_of(layer: str, axis: Any) -> list[int]:
    """One whole number or several, as a list."""
    axes = list(axis) if isinstance(axis, (list, tuple)) else [axis]
    if not all(isinstance(one, (int, np.integer)) and not isinstance(one, bool) for one in axes):
        raise OptionError(f"layer {layer!r}: axis must be a whole number, or several; got {axis!r}")
    return [int(one) for one in axes]


def from_end(layer: str, axes: list[int], shape: Any) -> tuple[int, ...]:
    """The axes counted from the last one, in order: as they are with and without a time axis.

    Raises:
        ShapeError: there is no such axis, or it is the batch, or its size is not known.
    """
    rank = len(shape)
    found = sorted({axis - rank if axis >= 0 else axis for axis in axes if -rank <= axis < rank})
    if len(found) < len(axes) or -rank in found or any(shape[axis] is None for axis in found):
        raise ShapeError(
            f"layer {layer!r}: axis {axes} must name axes of known size, each once and none the batch; the input is "
            f"{tuple(shape)}"
        )
    return tuple(found)


def check_axes(layer: str, axes: list[int], shape: Any, built_shape: Any) -> None:
    """Raises ShapeError unless the axes are those of what the layer was built for, and of their sizes there."""
    found, built = (from_end(layer, axes, one) for one in (shape, built_shape))
    if found != built or any(shape[axis] != built_shape[axis] for axis in built):
        raise ShapeError(
            f"layer {layer!r} is built for {tuple(built_shape)}, of which axis {axes} keeps its place and size; got "
            f"{tuple(shape)}"
        )


def time_obstacle(axes: tuple[int, ...], rank: int) -> str | None:
    """Why a layer over these axes, counted from the end, cannot be stepped."""
    return "it goes over the time axis" if rank > 2 and 1 - rank in axes else None


def mean_over(x: Array, axes: tuple[int, ...]) -> Array:
    """The mean over axes counted from the end, which stay, of one number."""
    count = math.prod(x.shape[axis] for axis in axes)
    return np.asarray(sum_over(x, axes) / np.asarray(count, x.dtype))


def sum_over(x: Array, axes: tuple[int, ...]) -> Array:
    """The sum over axes counted from the end, which stay, of one number.

    They are put last, side by side in memory, because NumPy adds such rows one by one, in an order that follows from
    their length alone: pairwise. Of rows that lie otherwise it would add whole arrays, in an order that depends on the
    shape.
    """
    others = [axis for axis in range(-x.ndim, 0) if axis not in axes]
    moved = np.ascontiguousarray(x.transpose([axis % x.ndim for axis in (*others, *axes)]))
    rows = moved.reshape(*moved.shape[: len(others)], math.prod(moved.shape[len(others) :]))
    total = np.add.reduce(rows, axis=-1)
    return np.asarray(np.expand_dims(total, tuple(axis % x.ndim for axis in axes)))


def along(weight: Array, axes: tuple[int, ...]) -> Array:
    """A weight with one axis for each of these, in order, so that it broadcasts against what has them."""
    sizes = dict(zip(axes, weight.shape, strict=True))
    return weight.reshape([sizes.get(axis, 1) for axis in range(min(axes), 0)])
