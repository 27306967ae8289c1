"""Products of two arrays that are both computed: each number is summed in order, whatever the batch is."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.errors import ShapeError
from everystep.layers.operations.kind import Kind, as_dtype, broadcast, result_dtype
from everystep.layers.tensor import Shape


def _dtype(x1: Any, x2: Any) -> str:
    return result_dtype(x1, x2)


def _shape(x1: Shape, x2: Shape) -> Shape:
    if min(len(x1), len(x2)) < 2:
        raise ShapeError(f"a matrix product takes arrays of two axes or more; got {x1} and {x2}")
    if x1[-1] != x2[-2] and None not in (x1[-1], x2[-2]):
        raise ShapeError(f"the last axis of {x1} must be as long as the last but one of {x2}, for their product")
    return (*broadcast(x1[:-2], x2[:-2]), x1[-2], x2[-1])


def _matmul(x1: Any, x2: Any) -> Any:
    """Term by term in the order of the axis that is summed over, for the bits of a row not to depend on others."""
    dtype = _dtype(x1, x2)
    a, b = as_dtype(x1, dtype), as_dtype(x2, dtype)
    shape: Any = _shape(a.shape, b.shape)
    found = np.zeros(shape, dtype)
    with np.errstate(all="ignore"):
        for k in range(a.shape[-1]):
            found += a[..., :, k, None] * b[..., k, None, :]
    return found


def _axes(x1: Shape, x2: Shape) -> tuple[int, ...]:
    """The axes that are summed over; with three axes, time meets itself in the second array."""
    time_in_second = len(x2) == 3 and x2[0] is None
    batch = len(x2) == 2 and x2[0] is None
    return ((len(x1) - 1,) if len(x1) == 2 else ()) + ((1,) if time_in_second else ()) + ((0,) if batch else ())


PRODUCTS: dict[str, Kind] = {"Matmul": Kind(_matmul, _shape, _dtype, _axes, call=("x1", "x2"), needed=2)}
