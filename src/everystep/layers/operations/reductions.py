"""Functions that go along axes: sums, means, extremes, and what runs along one.

Sums go along the axes one after the other in order, as NumPy's accumulate does: their bits depend on nothing but the
numbers that are summed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.errors import ShapeError, UnsupportedError
from everystep.layers.operations.kind import (
    MATH,
    Kind,
    along,
    as_dtype,
    axes_in,
    first_dtype,
    float_dtype,
    result_dtype,
    unchanged,
)
from everystep.layers.tensor import Shape

AXES = {"axis": None, "keepdims": False}


def reduced(x: Shape, *others: Any, axis: Any = None, keepdims: bool = False, **options: Any) -> Shape:
    gone = axes_in(axis, len(x))
    return tuple(1 if k in gone else size for k, size in enumerate(x) if keepdims or k not in gone)


def _in_order(ufunc: Any, x: Array, axis: Any, keepdims: bool) -> Array:
    """A ufunc's reduction, number after number along all axes but the kept ones; of none, its identity."""
    gone = axes_in(axis, x.ndim)
    kept = [k for k in range(x.ndim) if k not in gone]
    rows = x.transpose([*kept, *gone]).reshape(
        *(x.shape[k] for k in kept), math.prod(x.shape[k] for k in gone)
    )  # where there are no numbers, -1 is no size
    if rows.shape[-1]:
        found = ufunc.accumulate(rows, axis=-1, dtype=x.dtype)[..., -1]
    else:
        found = np.full(rows.shape[:-1], ufunc.identity, x.dtype)
    shape = [1 if k in gone else x.shape[k] for k in range(x.ndim)]
    return np.array(found.reshape(shape) if keepdims else found, order="C")


def _sum_dtype(x: Any, dtype: Any = None, **options: Any) -> str:
    """Of whole numbers narrower than 32 bits, and bool, 32 bits."""
    if dtype is not None:
        raise UnsupportedError(f"dtype {dtype!r} of a sum or product is not supported; cast what goes in")
    own = result_dtype(x)
    narrow = {"bool": "int32", "int8": "int32", "int16": "int32", "uint8": "uint32", "uint16": "uint32"}
    return narrow.get(own, own)


def _total(ufunc: Any, x: Any, axis: Any, keepdims: bool, dtype: Any = None) -> Any:
    with np.errstate(all="ignore"):
        return _in_order(ufunc, as_dtype(x, _sum_dtype(x, dtype=dtype)), axis, keepdims)


def _float_of(x: Any, **options: Any) -> str:
    return float_dtype(x)


def _float_of_all(*values: Any, **options: Any) -> str:
    return float_dtype(*(value for value in values if value is not None))


def _mean(x: Any, axis: Any, keepdims: bool) -> Any:
    x = as_dtype(x, float_dtype(x))
    count = int(np.prod([x.shape[k] for k in axes_in(axis, x.ndim)]))
    with np.errstate(all="ignore"):
        return np.divide(_in_order(np.add, x, axis, keepdims), x.dtype.type(count))


def _var(x: Any, axis: Any, keepdims: bool) -> Any:
    x = as_dtype(x, float_dtype(x))
    away = x - _mean(x, axis, True)
    return _mean(away * away, axis, keepdims)


def _std(x: Any, axis: Any, keepdims: bool) -> Any:
    return np.sqrt(_var(x, axis, keepdims))


def _logsumexp(x: Any, axis: Any, keepdims: bool) -> Any:
    x = as_dtype(x, float_dtype(x))
    top = x.max(axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, top.dtype.type(0))
    with np.errstate(all="ignore"):
        total = np.log(_in_order(np.add, np.exp(x - top), axis, True)) + top
    return total if keepdims else total.reshape(reduced(x.shape, axis=axis))


def _average(x: Any, weights: Any = None, *, axis: Any) -> Any:
    if weights is None:
        return _mean(x, axis, False)
    dtype = float_dtype(x, weights)
    x, w = as_dtype(x, dtype), as_dtype(weights, dtype)
    if w.ndim == 1 and x.ndim > 1 and isinstance(axis, int):  # of the places along the axis
        w = w.reshape([-1 if k == axis % x.ndim else 1 for k in range(x.ndim)])
    if any(a not in (1, b) for a, b in zip(w.shape, x.shape, strict=True)):
        raise ShapeError(f"weights must be of the shape of x, {x.shape}, or one for each place along the axis")
    w = np.broadcast_to(w, x.shape)
    with np.errstate(all="ignore"):
        return np.divide(_in_order(np.add, x * w, axis, False), _in_order(np.add, np.ascontiguousarray(w), axis, False))


def _extreme(function: Callable[..., Any]) -> Kind:
    def run(x: Any, axis: Any, keepdims: bool, initial: Any) -> Any:
        x = np.asarray(x)
        return function(x, axis=axis, keepdims=keepdims, **({} if initial is None else {"initial": initial}))

    return Kind(run, reduced, first_dtype, along, {**AXES, "initial": None})


def _place(function: Callable[..., Any]) -> Kind:
    def run(x: Any, axis: int, keepdims: bool) -> Any:
        return function(x, axis=axis, keepdims=keepdims).astype(np.int32)

    return Kind(run, reduced, lambda x, **options: "int32", along, AXES)


def _truth(ufunc: Any) -> Kind:
    def run(x: Any, axis: Any, keepdims: bool, out: Any = None) -> Any:
        return ufunc.reduce(x, axis=axis, keepdims=keepdims, dtype=bool, out=out)

    return Kind(run, reduced, lambda x, **options: "bool", along, AXES)


def _running(ufunc: Any) -> Kind:
    def run(x: Any, axis: int, dtype: Any) -> Any:
        with np.errstate(all="ignore"):
            wanted = _sum_dtype(x, dtype=dtype)
            return ufunc.accumulate(as_dtype(x, wanted), axis=axis, dtype=wanted)

    return Kind(run, unchanged, _sum_dtype, along, {"axis": None, "dtype": None})


REDUCTIONS: dict[str, Kind] = {
    "Sum": Kind(partial(_total, np.add), reduced, _sum_dtype, along, AXES),
    "Prod": Kind(partial(_total, np.multiply), reduced, _sum_dtype, along, {**AXES, "dtype": None}),
    "Mean": Kind(_mean, reduced, _float_of, along, AXES),
    "Var": Kind(_var, reduced, _float_of, along, AXES),
    "Std": Kind(_std, reduced, _float_of, along, AXES),
    "Logsumexp": Kind(_logsumexp, reduced, _float_of, along, AXES, module=MATH),
    "Average": Kind(_average, reduced, _float_of_all, along, {"axis": None}, ("x", "weights")),
    "Sort": Kind(lambda x, axis: np.sort(x, axis=axis), unchanged, first_dtype, along, {"axis": -1}),
    "Max": _extreme(np.max),
    "Min": _extreme(np.min),
    "Amax": _extreme(np.max)._replace(options=AXES),
    "Amin": _extreme(np.min)._replace(options=AXES),
    "Argmax": _place(np.argmax),
    "Argmin": _place(np.argmin),
    "Any": _truth(np.logical_or),
    "All": _truth(np.logical_and),
    "Cumsum": _running(np.add),
    "Cumprod": _running(np.multiply),
}
for _name in ("Amax", "Amin"):
    REDUCTIONS[_name] = REDUCTIONS[_name]._replace(run=partial(REDUCTIONS[_name].run, initial=None))
