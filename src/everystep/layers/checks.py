"""Shapes, dtypes and numbers that layers are given: what fits what, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.engine import FLOATS
from everystep.errors import DtypeError, OptionError, ShapeError, UnsupportedError
from everystep.layers.structure import flatten
from everystep.layers.tensor import Array, Shape


def shapes_of(inputs: Any) -> Any:
    """The shape of an array or tensor, as a tuple; a list of shapes for a list of them."""
    if isinstance(inputs, (list, tuple)):
        return [shapes_of(inner) for inner in inputs]
    return tuple(inputs.shape)


def require_arrays(layer: str, inputs: Any) -> None:
    """Raises DtypeError unless these are arrays or tensors, or a structure of them."""
    for leaf in flatten(inputs):
        if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
            raise DtypeError(f"layer {layer!r} takes NumPy arrays; got {type(leaf).__name__}")


def parts_of_state(layer: str, state: Any, count: int, wanted: str) -> list[Any]:
    """The parts of a state that was handed to `run` or `step`, to go on from.

    Raises:
        ShapeError: they are not so many.
    """
    if not isinstance(state, (list, tuple)) or len(state) != count:
        raise wrong_state(layer, wanted, state)
    return list(state)


def wrong_state(layer: str, wanted: str, came: Any) -> ShapeError:
    """The error of a state that is none of this layer's."""
    got = type(came).__name__
    if isinstance(came, (list, tuple)):
        words = [str(tuple(one.shape)) if hasattr(one, "shape") else type(one).__name__ for one in came]
        got = f"{len(came)}: {', '.join(words) or 'none'}"
    return ShapeError(
        f"layer {layer!r}: the state must be {wanted}; got {got}. Pass what run or step returned, or None to begin"
    )


def require_list(owner: str, weights: Any) -> None:
    """Raises DtypeError unless these are several weights: a list or tuple of arrays, or an array of them."""
    if not isinstance(weights, (list, tuple)) and not (isinstance(weights, np.ndarray) and weights.ndim):
        raise DtypeError(f"{owner}: set_weights takes a list of arrays; got {type(weights).__name__}")


def sizes_fit(shape: Shape, expected: Shape) -> bool:
    """Whether two shapes agree where both are known."""
    return len(shape) == len(expected) and all(a == b or None in (a, b) for a, b in zip(shape, expected, strict=True))


def dtype_name(layer: str, dtype: Any) -> str:
    """ "float32" or "float64", from a name, a NumPy dtype, None, or Keras's config of a policy.

    Raises:
        UnsupportedError: another dtype, or a policy of mixed precision.
    """
    given = dtype
    if isinstance(dtype, dict):
        given = dtype.get("config", {}).get("name")
    given = "float32" if given is None else given
    if not isinstance(given, str):
        given = np.dtype(given).name if isinstance(given, type) else getattr(given, "name", given)
    if given not in [known.name for known in FLOATS]:
        raise UnsupportedError(f"layer {layer!r}: dtype {given!r} is not one of float32, float64, which the engine has")
    return str(given)


def policy(dtype: str) -> dict[str, Any]:
    """A dtype as Keras's configs hold it."""
    return {"module": "keras", "class_name": "DTypePolicy", "config": {"name": dtype}, "registered_name": None}


def whole_number(layer: str, argument: str, value: Any) -> int:
    """Raises OptionError unless value is a whole number from 1 on."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise OptionError(f"layer {layer!r}: {argument} must be a whole number from 1 on; got {value!r}")
    return int(value)


def check_flags(layer: Any, *names: str) -> None:
    """Raises OptionError unless these attributes of a layer are True or False."""
    for name in names:
        if not isinstance(getattr(layer, name), (bool, np.bool_)):
            raise OptionError(f"layer {layer.name!r}: {name} must be True or False; got {getattr(layer, name)!r}")


def fraction(layer: str, argument: str, value: Any) -> Any:
    """Raises OptionError unless value is a number from 0 to 1."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        raise OptionError(f"layer {layer!r}: {argument} must be a number from 0 to 1; got {value!r}")
    return value


def converted(where: str, array: Array, dtype: str) -> Array:
    """array as this dtype, contiguous; fractions are rounded, whole numbers and the infinite stay what they are.

    Raises:
        DtypeError: a number is beyond the dtype's range, or a whole number's dtype holds one that it cannot.
    """
    wanted = np.dtype(dtype)
    if array.dtype == wanted:
        return np.ascontiguousarray(array, wanted).reshape(array.shape)
    lost = False
    with np.errstate(over="ignore", invalid="ignore"):
        new = np.ascontiguousarray(array, wanted).reshape(array.shape)
    if wanted.kind in "iu":
        lost = not np.array_equal(new, array)
    elif wanted.kind == "f" and array.dtype.kind == "f":
        lost = wanted.itemsize < array.itemsize and not np.array_equal(np.isinf(new), np.isinf(array))
    elif wanted.kind == "f" and array.dtype.kind in "iu" and array.size:
        exact = 2 ** (np.finfo(wanted).nmant + 1)  # up to here each whole number has its float
        if int(array.max()) > exact or int(array.min()) < -exact:
            lost = bool((new.astype(object) != array.astype(object)).any())  # as Python compares them, without rounding
    if lost:
        kind = "whole numbers" if wanted.kind in "iu" else "numbers"
        raise DtypeError(
            f"{where} takes {wanted}; got an array of {array.dtype} with numbers that {wanted} cannot hold. "
            f"Pass {kind} in its range"
        )
    return new


def refuse_given(layer: str, **options: Any) -> None:
    """Raises UnsupportedError if any of these options of Keras is given at all."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UnsupportedError(f"layer {layer!r}: {', '.join(given)} is not supported; save the model without it")
