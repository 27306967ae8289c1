"""What a kind of operation is, as data; and the dtypes and shapes that all kinds share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from everystep.errors import DtypeError, OptionError, ShapeError
from everystep.layers.structure import flatten
from everystep.layers.tensor import DTYPES, Array, Shape

NUMPY, NN, MATH, CORE = (f"keras.src.ops.{part}" for part in ("numpy", "nn", "math", "core"))  # where Keras has them


class Kind(NamedTuple):
    """A function of arrays.

    Attributes:
        run: of the call's arguments and the options by keyword.
        shape: of the result, from the same with a shape in the place of each array; () for a number.
        dtype: of the result, from the same with each array's dtype, and each number, as `result_dtype` takes them.
        axes: that it goes along, counted from 0, from what `shape` takes: 0 is the batch, which is refused; 1 is the
            time of a sequence, along which there is no step. A function of each number by itself has none.
        options: with their defaults, in the order of Keras's constructor.
        call: the names of the arguments of a call.
        needed: how many of those have no default.
        module: where Keras has its class.
        ufunc: NumPy's function, where `run` is nothing else once the dtypes are one; it takes `out`.
    """

    run: Callable[..., Any]
    shape: Callable[..., Shape]
    dtype: Callable[..., str]
    axes: Callable[..., tuple[int, ...]] = lambda *args, **options: ()
    options: dict[str, Any] = {}  # noqa: RUF012 - never written to
    call: tuple[str, ...] = ("x",)
    needed: int = 1
    module: str = NUMPY
    ufunc: Callable[..., Any] | None = None


# ---- Dtypes ----


def is_number(value: Any) -> bool:
    """Whether it is a number of Python's, whose dtype gives way to an array's."""
    return isinstance(value, (bool, int, float)) and not isinstance(value, np.generic)


def result_dtype(*values: Any) -> str:
    """The dtype of what is computed from arrays and numbers, given as dtypes, arrays and Python's numbers.

    A float wins over whole numbers, and those over bool; among floats, and among whole numbers, the wider one wins. A
    number of Python's counts by its kind alone: an int32 array and 1 stay int32, and with 1.5 become float32.

    Raises:
        DtypeError: one is no real number, or there is no such dtype that holds both.
    """
    dtypes = [_dtype_of(value) for value in values if not is_number(value)]
    floats = [dtype for dtype in dtypes if dtype.kind == "f"]
    whole = [dtype for dtype in dtypes if dtype.kind in "iu"]
    numbers = [value for value in values if is_number(value)]
    if floats:
        found = np.result_type(*floats)
    elif any(isinstance(value, float) for value in numbers):
        found = np.dtype(np.float32)
    elif whole:
        found = np.result_type(*whole)
    elif any(not isinstance(value, bool) for value in numbers):
        found = np.dtype(np.int32)
    else:
        found = np.dtype(bool)
    if found.name not in DTYPES or (found.kind == "f" and whole and not floats and not numbers):
        raise DtypeError(
            f"there is no dtype for {', '.join(dtype.name for dtype in dtypes)} together; cast one of them"
        )
    return str(found.name)


def float_dtype(*values: Any) -> str:
    """As `result_dtype`, of a function that returns fractions: float32 for whole numbers."""
    return result_dtype(*values, 0.0)


def number_dtype(*values: Any) -> str:
    """As `result_dtype`, of what Keras on JAX computes of bool in 32 bits."""
    dtype = result_dtype(*values)
    return "int32" if dtype == "bool" else dtype


def _dtype_of(value: Any) -> np.dtype[Any]:
    found = value if isinstance(value, np.dtype) else getattr(value, "dtype", None)
    if found is None or str(found) not in DTYPES:
        came = type(value).__name__ if found is None else found
        raise DtypeError(f"an operation takes tensors, arrays and numbers, of {', '.join(DTYPES)}; got {came}")
    return np.dtype(found)


def as_dtype(value: Any, dtype: str) -> Array:
    """An array, or a number as one without axes, in this dtype; as it is if it has it."""
    return np.asarray(value, dtype)


def first_dtype(x: Any, *others: Any, **options: Any) -> str:
    return result_dtype(x)


def same_dtype(*values: Any, **options: Any) -> str:
    """Of all arguments, those in lists among them."""
    return result_dtype(*flatten(list(values)))


# ---- Shapes ----


def broadcast(*shapes: Shape) -> Shape:
    """What shapes with unknown sizes make together; () for a number.

    Raises:
        ShapeError: two sizes that are known differ, and none is 1.
    """
    rank = max(len(shape) for shape in shapes)
    found: list[int | None] = []
    for sizes in zip(*((1,) * (rank - len(shape)) + tuple(shape) for shape in shapes), strict=True):
        known = {size for size in sizes if size not in (None, 1)}
        if len(known) > 1:
            raise ShapeError(f"arrays of shapes {', '.join(map(str, shapes))} do not go together, number by number")
        found.append(known.pop() if known else None if None in sizes else 1)
    return tuple(found)


def joined(shapes: list[Shape], axis: int) -> Shape:
    """The shape of arrays of these shapes, concatenated along an axis."""
    axis = axis_in(axis, len(shapes[0]))
    sizes = [shape[axis] for shape in shapes]
    total = None if None in sizes else sum(size for size in sizes if size is not None)
    known = [next((shape[k] for shape in shapes if shape[k] is not None), None) for k in range(len(shapes[0]))]
    return (*known[:axis], total, *known[axis + 1 :])


def axis_in(axis: Any, rank: int) -> int:
    """An axis, counted from 0.

    Raises:
        OptionError: it is not a whole number. ShapeError: there is none of that number.
    """
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise OptionError(f"axis must be one whole number; got {axis!r}")
    if not -rank <= axis < rank:
        raise ShapeError(f"there is no axis {axis} in an array of {rank} axes")
    return axis % rank


def axes_in(axis: Any, rank: int) -> tuple[int, ...]:
    """Axes counted from 0: of a number, several in a list, or None for all."""
    if axis is None:
        return tuple(range(rank))
    given = axis if isinstance(axis, (list, tuple)) else [axis]
    return tuple(axis_in(one, rank) for one in given)


def size_of(shape: Shape) -> int | None:
    """How many numbers; None where a size is not known."""
    return None if None in shape else math.prod(size for size in shape if size is not None)


def along(x: Shape, *others: Any, axis: Any = None, **options: Any) -> tuple[int, ...]:
    """The axes of a function that goes along `axis`."""
    return axes_in(axis, len(x))


def unchanged(x: Shape, *others: Any, **options: Any) -> Shape:
    return x
