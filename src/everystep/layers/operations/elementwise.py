"""Functions of each number by itself: arithmetic, comparisons, logic, mathematics.

Numbers that go together are first brought to the dtype of the result, see `kind.result_dtype`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.errors import UnsupportedError
from everystep.layers.operations.kind import (
    CORE,
    MATH,
    Kind,
    as_dtype,
    broadcast,
    first_dtype,
    float_dtype,
    number_dtype,
    result_dtype,
    unchanged,
)
from everystep.layers.tensor import DTYPES

PAIR = ("x1", "x2")


def quiet(function: Callable[..., Any], *arrays: Any, **out: Any) -> Any:
    """Without NumPy's warnings: what overflows, or has no value, is inf or nan, as in Keras."""
    with np.errstate(all="ignore"):
        return function(*arrays, **out)


def _ufunc(ufunc: Any, dtype: Callable[..., str], of: Callable[..., str] | None = None) -> Kind:
    """A function of one array or two, brought to the dtype `of` them, by default that of the result."""
    of = of or dtype

    def run(*values: Any) -> Any:
        wanted = of(*values)
        return quiet(ufunc, *(np.ascontiguousarray(v) if np.ndim(v) else v for v in _brought(values, wanted)))

    return Kind(
        run, broadcast, dtype, call=PAIR[: ufunc.nin] if ufunc.nin > 1 else ("x",), needed=ufunc.nin, ufunc=ufunc
    )


def _brought(values: tuple[Any, ...], dtype: str) -> list[Array]:
    return [as_dtype(value, dtype) for value in values]


def _bool(*values: Any, **options: Any) -> str:
    return "bool"


def _compared(ufunc: Any) -> Kind:
    return _ufunc(ufunc, _bool, result_dtype)


def _logical(ufunc: Any) -> Kind:
    return _ufunc(ufunc, _bool)


def _power(x1: Any, x2: Any) -> Any:
    return quiet(np.power, *_brought((x1, x2), number_dtype(x1, x2)))


def _rsqrt(x: Any) -> Any:
    root = quiet(np.sqrt, as_dtype(x, float_dtype(x)))
    return quiet(np.divide, root.dtype.type(1), root)


def _divide_no_nan(x1: Any, x2: Any) -> Any:
    x1, x2 = _brought((x1, x2), float_dtype(x1, x2))
    return np.where(x2 == 0, x2.dtype.type(0), quiet(np.divide, x1, np.where(x2 == 0, x2.dtype.type(1), x2)))


def _where(condition: Any, x1: Any, x2: Any) -> Any:
    return np.where(as_dtype(condition, "bool"), *_brought((x1, x2), result_dtype(x1, x2)))


def _clip_dtype(x: Any, x_min: Any, x_max: Any) -> str:
    return number_dtype(x, *(end for end in (x_min, x_max) if end is not None))


def _clip(x: Any, x_min: Any, x_max: Any) -> Any:
    dtype = _clip_dtype(x, x_min, x_max)
    ends: Any = [None if end is None else as_dtype(end, dtype) for end in (x_min, x_max)]  # None: there is no such end
    return np.clip(as_dtype(x, dtype), *ends)


def _round(x: Any, decimals: int) -> Any:
    return np.round(as_dtype(x, first_dtype(x)), decimals)


def _cast_dtype(x: Any, dtype: Any) -> str:
    name = dtype if isinstance(dtype, str) else getattr(dtype, "name", str(dtype))
    if name not in DTYPES:
        raise UnsupportedError(f"dtype {name!r} is not one of {', '.join(DTYPES)}")
    return name


def _cast(x: Any, dtype: Any) -> Any:
    """Fractions become whole numbers as in XLA: what is out of range the nearest that is in it, and nan 0."""
    x = np.asarray(x)
    found: Array = quiet(as_dtype, x, _cast_dtype(x, dtype))
    if x.dtype.kind == "f" and found.dtype.kind in "iu":
        ends = np.iinfo(found.dtype)
        found[x <= ends.min], found[x >= float(ends.max)], found[np.isnan(x)] = ends.min, ends.max, 0
    return found


def _like_dtype(x: Any, *value: Any, dtype: Any) -> str:
    return first_dtype(x) if dtype is None else _cast_dtype(x, dtype)


def _like(fill: float) -> Kind:
    def run(x: Any, dtype: Any) -> Any:
        return np.full(np.shape(x), fill, _like_dtype(x, dtype=dtype))

    return Kind(run, unchanged, _like_dtype, options={"dtype": None})


def _full_like(x: Any, fill_value: Any, dtype: Any) -> Any:
    return np.full(np.shape(x), fill_value, _like_dtype(x, dtype=dtype))


def _identity(x: Any) -> Any:
    return np.asarray(x)


AS_IT_IS = ("dtype", "sparse", "ragged")  # options of ConvertToTensor, which change nothing where they are not given


def _as_it_is(x: Any, **options: Any) -> Any:
    given = [name for name, value in options.items() if value]
    if given:
        raise UnsupportedError(f"ConvertToTensor with {', '.join(given)} is not supported; supported is one without")
    return np.asarray(x)


def _in(module: str, **kinds: Kind) -> dict[str, Kind]:
    return {name: kind._replace(module=module) for name, kind in kinds.items()}


UFUNCS: dict[str, Kind] = {
    **{
        name: _ufunc(ufunc, result_dtype)
        for name, ufunc in {
            "Add": np.add,
            "Subtract": np.subtract,
            "Multiply": np.multiply,
            "Maximum": np.maximum,
            "Minimum": np.minimum,
            "Absolute": np.absolute,
            "Negative": np.negative,
            "Sign": np.sign,
        }.items()
    },
    **{
        name: _ufunc(ufunc, number_dtype)
        for name, ufunc in {"FloorDivide": np.floor_divide, "Mod": np.mod, "Square": np.square}.items()
    },
    **{
        name: _ufunc(ufunc, float_dtype)
        for name, ufunc in {
            "TrueDivide": np.true_divide,
            "Divide": np.true_divide,
            "Exp": np.exp,
            "Expm1": np.expm1,
            "Log": np.log,
            "Log1p": np.log1p,
            "Log2": np.log2,
            "Log10": np.log10,
            "Sqrt": np.sqrt,
            "Sin": np.sin,
            "Cos": np.cos,
            "Tan": np.tan,
            "Arctan": np.arctan,
            "Sinh": np.sinh,
            "Cosh": np.cosh,
            "Floor": np.floor,
            "Ceil": np.ceil,
            "Reciprocal": np.reciprocal,
        }.items()
    },
    **{
        name: _compared(ufunc)
        for name, ufunc in {
            "Equal": np.equal,
            "NotEqual": np.not_equal,
            "Greater": np.greater,
            "GreaterEqual": np.greater_equal,
            "Less": np.less,
            "LessEqual": np.less_equal,
            "Isnan": np.isnan,
            "Isinf": np.isinf,
            "Isfinite": np.isfinite,
        }.items()
    },
    **{
        name: _logical(ufunc)
        for name, ufunc in {
            "LogicalAnd": np.logical_and,
            "LogicalOr": np.logical_or,
            "LogicalXor": np.logical_xor,
            "LogicalNot": np.logical_not,
        }.items()
    },
}

ELEMENTWISE: dict[str, Kind] = {
    **UFUNCS,
    "Power": Kind(_power, broadcast, number_dtype, call=PAIR, needed=2),
    "DivideNoNan": Kind(_divide_no_nan, broadcast, float_dtype, call=PAIR, needed=2),
    "Where": Kind(
        _where, broadcast, lambda condition, x1, x2: result_dtype(x1, x2), call=("condition", "x1", "x2"), needed=3
    ),
    "Clip": Kind(_clip, unchanged, _clip_dtype, options={"x_min": None, "x_max": None}),
    "Round": Kind(_round, unchanged, first_dtype, options={"decimals": 0}),
    "ZerosLike": _like(0),
    "OnesLike": _like(1),
    "FullLike": Kind(_full_like, unchanged, _like_dtype, options={"dtype": None}, call=("x", "fill_value"), needed=2),
    **_in(CORE, Cast=Kind(_cast, unchanged, _cast_dtype, options={"dtype": None})),
    **_in(CORE, StopGradient=Kind(_identity, unchanged, first_dtype)),
    **_in(CORE, ConvertToTensor=Kind(_as_it_is, unchanged, first_dtype, options=dict.fromkeys(AS_IT_IS))),
    **_in(MATH, Rsqrt=Kind(_rsqrt, unchanged, float_dtype)),
}
