"""x[key]: whole numbers, slices, None for a new axis, and ... for the axes between."""

from __future__ import annotations

from typing import Any

from everystep.engine import Array
from everystep.errors import OptionError, ShapeError, UnsupportedError
from everystep.layers.operations.kind import Kind, first_dtype
from everystep.layers.tensor import Shape

ALL = slice(None)


def parts(x: Shape, key: Any) -> list[tuple[int | None, Any]]:
    """The axis of x that each part of a key takes, and the part; None and None for a new axis.

    Raises:
        UnsupportedError: a part is an array or a tensor. ShapeError: there are more parts than axes.
    """
    given = list(key) if isinstance(key, (list, tuple)) else [key]
    for part in given:
        numbers = [part.start, part.stop, part.step] if isinstance(part, slice) else [part]
        if not all(n is None or n is ... or (isinstance(n, int) and not isinstance(n, bool)) for n in numbers):
            raise UnsupportedError(
                f"a slice is made of whole numbers, a:b:c, ... and None; got {type(part).__name__} {part!r}. "
                "For indices that are computed, Keras has ops.take"
            )
        if isinstance(part, slice) and part.step == 0:
            raise OptionError("the step of a slice must not be 0")
    dots = [k for k, part in enumerate(given) if part is ...]
    taken = sum(part is not None and part is not ... for part in given)
    if len(dots) > 1 or taken > len(x):
        raise ShapeError(f"{key!r} does not slice an array of shape {x}: it has {len(x)} axes, and ... stands once")
    at = dots[0] if dots else len(given)
    given[at : at + 1] = [ALL] * (len(x) - taken)
    found: list[tuple[int | None, Any]] = []
    axis = 0
    for part in given:
        found.append((None if part is None else axis, part))
        axis += part is not None
    return found


def _sliced(x: Shape, key: Any) -> Shape:
    shape: list[int | None] = []
    for axis, part in parts(x, key):
        size = None if axis is None else x[axis]
        if axis is None:
            shape.append(1)
        elif isinstance(part, slice):
            shape.append(size if part == ALL else None if size is None else len(range(*part.indices(size))))
        elif size is not None and not -size <= part < size:
            raise ShapeError(f"there is no index {part} along axis {axis} of an array of shape {x}")
    return tuple(shape)


def _axes(x: Shape, key: Any) -> tuple[int, ...]:
    """Axes that are cut; a new axis before time, or in its place, moves it."""
    found = parts(x, key)
    cut = [axis for axis, part in found if axis is not None and part != ALL]
    moved = [min(place, 1) for place, (axis, _) in enumerate(found[:2]) if axis is None]
    return (*cut, *moved)


def only_cuts(key: Any, known: bool) -> bool:
    """Whether x[key] is x if it is of x's shape: it has slices in steps of 1 alone.

    Args:
        known: whether the sizes are; if not, only slices that cut nothing count.
    """
    given = key if isinstance(key, (list, tuple)) else [key]
    slices = [part for part in given if part is not ...]
    if not all(isinstance(part, slice) and part.step in (None, 1) for part in slices):
        return False
    return known or all(part.start in (None, 0) and part.stop is None for part in slices)


def takes_newest(x: Shape, key: Any) -> bool:
    """Whether of the time axis it takes the last step alone, and else leaves batch and time as they are."""
    found = parts(x, key)
    return len(found) > 1 and found[0] == (0, ALL) and found[1] == (1, -1)


def _get(x: Array, key: Any) -> Any:
    try:
        return x[tuple(key) if isinstance(key, list) else key]
    except IndexError:
        _sliced(x.shape, key)  # which says what is wrong
        raise


SLICING: dict[str, Kind] = {"GetItem": Kind(_get, _sliced, first_dtype, _axes, call=("x", "key"), needed=2)}
