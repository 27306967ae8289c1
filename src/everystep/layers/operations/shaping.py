"""Functions that put numbers elsewhere: other shapes, other orders, several arrays as one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.errors import OptionError, ShapeError, UnsupportedError
from everystep.layers.checks import sizes_fit
from everystep.layers.operations.kind import (
    NN,
    Kind,
    along,
    as_dtype,
    axes_in,
    axis_in,
    first_dtype,
    joined,
    same_dtype,
    size_of,
    unchanged,
)
from everystep.layers.tensor import Shape

# ---- Shapes ----


def _reshaped(x: Shape, newshape: Any) -> Shape:
    new = (newshape,) if isinstance(newshape, int) else tuple(newshape)
    new = tuple(-1 if size is None else size for size in new)
    if any(isinstance(size, bool) or not isinstance(size, int) or size < -1 for size in new) or new.count(-1) > 1:
        raise OptionError(f"newshape must be whole numbers, one of them -1 at most; got {newshape!r}")
    total, rest = size_of(x), math.prod(size for size in new if size != -1)
    if total is not None and (total % rest if -1 in new and rest else total != rest):
        raise ShapeError(f"{total} numbers of shape {x} do not make {new}")
    known = None if total is None else total // max(rest, 1)
    return tuple(known if size == -1 else size for size in new)


def _reshape(x: Array, newshape: Any) -> Any:
    return np.ascontiguousarray(x).reshape(
        [-1 if size is None else size for size in np.atleast_1d(np.array(newshape, object))]
    )


def _time(x: Shape, *others: Any, **options: Any) -> tuple[int, ...]:
    return (1,)


def _expanded(x: Shape, axis: Any) -> Shape:
    shape = list(x)
    for place in sorted(_new_axes(x, axis)):
        shape.insert(place, 1)
    return tuple(shape)


def _new_axes(x: Shape, axis: Any) -> tuple[int, ...]:
    return axes_in(axis, len(x) + (len(axis) if isinstance(axis, (list, tuple)) else 1))


def _squeezed_axes(x: Shape, axis: Any) -> tuple[int, ...]:
    """By default all of size 1 but the batch, which may have one row as well."""
    return tuple(k for k, size in enumerate(x) if k and size == 1) if axis is None else axes_in(axis, len(x))


def _squeezed_for_steps(x: Shape, axis: Any) -> tuple[int, ...]:
    """By default time too, as a step is a sequence of size 1."""
    return (*_squeezed_axes(x, axis), *((1,) if axis is None else ()))


def _squeezed(x: Shape, axis: Any) -> Shape:
    gone = _squeezed_axes(x, axis)
    if any(x[k] not in (1, None) for k in gone):
        raise ShapeError(f"only axes of size 1 can be squeezed out of {x}; got axis {axis}")
    return tuple(size for k, size in enumerate(x) if k not in gone)


def _squeeze(x: Array, axis: Any) -> Any:
    return x.reshape(_squeezed(x.shape, axis))


# ---- Orders ----


def _order(x: Shape, axes: Any) -> tuple[int, ...]:
    order = tuple(range(len(x)))[::-1] if axes is None else axes_in(axes, len(x))
    if sorted(order) != list(range(len(x))):
        raise OptionError(f"axes must name each of {len(x)} axes once; got {axes}")
    return order


def _swapped(x: Shape, axis1: int, axis2: int) -> tuple[int, ...]:
    order = list(range(len(x)))
    a, b = axis_in(axis1, len(x)), axis_in(axis2, len(x))
    order[a], order[b] = b, a
    return tuple(order)


def _moved(x: Shape, source: Any, destination: Any) -> tuple[int, ...]:
    old, new = axes_in(source, len(x)), axes_in(destination, len(x))
    if len(set(old)) != len(set(new)) or len(old) != len(new):
        raise OptionError(f"source and destination must be as many axes; got {source} and {destination}")
    order = [k for k in range(len(x)) if k not in old]
    for to, which in sorted(zip(new, old, strict=True)):
        order.insert(to, which)
    return tuple(order)


def _ordered(order: Any, **options: Any) -> Kind:
    def run(x: Array, **given: Any) -> Any:
        return np.ascontiguousarray(x.transpose(order(x.shape, **given)))

    def shape(x: Shape, **given: Any) -> Shape:
        return tuple(x[k] for k in order(x, **given))

    def axes(x: Shape, **given: Any) -> tuple[int, ...]:
        return tuple(k for k, old in enumerate(order(x, **given)) if k != old)

    return Kind(run, shape, first_dtype, axes, options)


def _roll(x: Array, shift: Any, axis: Any) -> Any:
    return np.roll(x, shift, axis)


# ---- Several arrays ----


def _together(xs: Any) -> list[Array]:
    dtype = same_dtype(xs)
    return [as_dtype(x, dtype) for x in xs]


def _concatenate(xs: Any, axis: int, out: Any = None) -> Any:
    return np.concatenate(_together(xs), axis=axis, out=out)


def _concatenated(xs: list[Shape], axis: int) -> Shape:
    at = axis_in(axis, len(xs[0]))
    others = [(*x[:at], *x[at + 1 :]) for x in xs]
    if not all(sizes_fit(other, others[0]) and len(x) == len(xs[0]) for other, x in zip(others, xs, strict=True)):
        raise ShapeError(f"arrays may differ along axis {axis} alone; got {', '.join(map(str, xs))}")
    return joined(xs, axis)


def _stacked(xs: list[Shape], axis: int) -> Shape:
    if not all(sizes_fit(x, xs[0]) for x in xs):
        raise ShapeError(f"arrays that are stacked must have one shape; got {', '.join(map(str, xs))}")
    known = joined([(*x, 1) for x in xs], -1)[:-1]
    at = axis_in(axis, len(xs[0]) + 1)
    return (*known[:at], len(xs), *known[at:])


# ---- Parts, copies, padding ----


def _indices(indices: Any) -> Array:
    found = np.asarray(indices)
    if found.dtype.kind not in "iu":
        raise OptionError(f"indices must be whole numbers; got {found.dtype}")
    return found


def _take(x: Any, indices: Any, axis: Any) -> Any:
    return np.take(np.asarray(x), _indices(indices), axis=axis)


def _taken(x: Shape, indices: Shape, axis: Any) -> Shape:
    at = axis_in(axis, len(x))
    return (*x[:at], *indices, *x[at + 1 :])


def _take_axes(x: Shape, indices: Shape, axis: Any) -> tuple[int, ...]:
    """Of rows of a constant table, none. Else with computed indices, each row would read by every other row's."""
    if x[0] is not None and None in indices and axis_in(axis, len(x)) == 0:
        return ()
    return (axis_in(axis, len(x)), *((0,) if None in indices else ()))


def _repeated(x: Shape, repeats: Any, axis: Any) -> Shape:
    at = axis_in(axis, len(x))
    size = x[at]
    if not isinstance(repeats, int) or repeats < 0:
        raise UnsupportedError(f"repeats must be one whole number from 0 on; got {repeats!r}")
    return (*x[:at], None if size is None else size * repeats, *x[at + 1 :])


def _repeat(x: Array, repeats: Any, axis: Any) -> Any:
    _repeated(x.shape, repeats, axis)
    return np.repeat(x, repeats, axis=axis)


def _times(x: Shape, repeats: Any) -> tuple[int, ...]:
    given = (repeats,) if isinstance(repeats, int) else tuple(repeats)
    return (*(1,) * (len(x) - len(given)), *given)


def _tiled(x: Shape, repeats: Any) -> Shape:
    times = _times(x, repeats)
    padded = (*(1,) * (len(times) - len(x)), *x)
    return tuple(None if size is None else size * n for size, n in zip(padded, times, strict=True))


def _tiled_axes(x: Shape, repeats: Any) -> tuple[int, ...]:
    times = _times(x, repeats)
    return (0,) if len(times) > len(x) else tuple(k for k, n in enumerate(times) if n != 1)


def _tile(x: Array, repeats: Any) -> Any:
    return np.tile(x, repeats)


def _widths(x: Shape, pad_width: Any) -> list[tuple[int, int]]:
    given: list[Any] = [pad_width] if isinstance(pad_width, int) else list(pad_width)
    if all(isinstance(one, int) for one in given):
        given = [tuple(given * (2 // len(given)))] * len(x)
    elif len(given) == 1:
        given = given * len(x)
    if len(given) != len(x) or not all(len(pair) == 2 and min(pair) >= 0 for pair in given):
        raise OptionError(f"pad_width must be a pair of numbers from 0 on for each of {len(x)} axes; got {pad_width!r}")
    return [(before, after) for before, after in given]


def _padded(x: Shape, constant_values: Any = None, *, pad_width: Any, mode: str) -> Shape:
    pairs = zip(x, _widths(x, pad_width), strict=True)
    return tuple(None if size is None else before + size + after for size, (before, after) in pairs)


def _padded_axes(x: Shape, constant_values: Any = None, *, pad_width: Any, mode: str) -> tuple[int, ...]:
    return tuple(k for k, pair in enumerate(_widths(x, pad_width)) if pair != (0, 0))


def _pad(x: Array, constant_values: Any = None, *, pad_width: Any, mode: str) -> Any:
    if mode not in ("constant", "reflect", "symmetric", "edge"):
        raise UnsupportedError(f"mode {mode!r} of padding is not one of constant, reflect, symmetric, edge")
    fill = {} if constant_values is None else {"constant_values": constant_values}
    modes: Any = mode
    return np.pad(x, _widths(x.shape, pad_width), modes, **fill)


def _one_hot(x: Array, num_classes: int, axis: int, dtype: Any, sparse: bool) -> Any:
    """1 at the place of each number, 0 at the others; all 0 where there is no such place."""
    places = np.arange(num_classes).reshape(-1, *(1,) * (-1 - axis if axis < 0 else x.ndim - axis))
    return (np.expand_dims(_indices(x), axis) == places).astype(dtype or "float32")


def _one_hot_shape(x: Shape, num_classes: int, axis: int, dtype: Any, sparse: bool) -> Shape:
    if sparse:
        raise UnsupportedError("sparse=True of one-hot vectors is not supported")
    at = axis_in(axis, len(x) + 1)
    return (*x[:at], num_classes, *x[at:])


def _one_hot_dtype(x: Any, **options: Any) -> str:
    dtype = options["dtype"] or "float32"
    if dtype not in ("float32", "float64", "int32", "int64", "bool"):
        raise UnsupportedError(f"dtype {dtype!r} of one-hot vectors is not supported")
    return str(dtype)


SHAPING: dict[str, Kind] = {
    "Reshape": Kind(_reshape, _reshaped, first_dtype, _time, {"newshape": None}),
    "ExpandDims": Kind(lambda x, axis: np.expand_dims(x, axis), _expanded, first_dtype, _new_axes, {"axis": None}),
    "Squeeze": Kind(_squeeze, _squeezed, first_dtype, _squeezed_for_steps, {"axis": None}),
    "Transpose": _ordered(_order, axes=None),
    "Swapaxes": _ordered(_swapped, axis1=None, axis2=None),
    "Moveaxis": _ordered(_moved, source=None, destination=None),
    "Flip": Kind(lambda x, axis: np.flip(x, axis), unchanged, first_dtype, along, {"axis": None}),
    "Roll": Kind(_roll, unchanged, first_dtype, along, {"shift": None, "axis": None}),
    "Concatenate": Kind(
        _concatenate, _concatenated, same_dtype, lambda xs, axis: axes_in(axis, len(xs[0])), {"axis": 0}, ("xs",)
    ),
    "Stack": Kind(
        lambda x, axis: np.stack(_together(x), axis=axis),
        _stacked,
        same_dtype,
        lambda x, axis: axes_in(axis, len(x[0]) + 1),
        {"axis": 0},
    ),
    "Take": Kind(_take, _taken, first_dtype, _take_axes, {"axis": None}, ("x", "indices"), 2),
    "Repeat": Kind(_repeat, _repeated, first_dtype, along, {"repeats": None, "axis": None}),
    "Tile": Kind(_tile, _tiled, first_dtype, _tiled_axes, {"repeats": None}),
    "Pad": Kind(
        _pad, _padded, first_dtype, _padded_axes, {"pad_width": None, "mode": "constant"}, ("x", "constant_values")
    ),
    "OneHot": Kind(
        _one_hot,
        _one_hot_shape,
        _one_hot_dtype,
        lambda x, axis, **options: axes_in(axis, len(x) + 1),
        {"num_classes": None, "axis": -1, "dtype": "float32", "sparse": False},
        module=NN,
    ),
}
