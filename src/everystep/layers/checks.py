"""Shapes, dtypes and numbers that layers are given: what fits what, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.engine import FLOATS
from everystep.errors import OptionError, UnsupportedError
from everystep.layers.tensor import Shape


def shapes_of(inputs: Any) -> Any:
    """The shape of an array or tensor, as a tuple; a list of shapes for a list of them."""
    if isinstance(inputs, (list, tuple)):
        return [shapes_of(inner) for inner in inputs]
    return tuple(inputs.shape)


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
        given = getattr(given, "name", None) or np.dtype(given).name
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


def refuse_given(layer: str, **options: Any) -> None:
    """Raises UnsupportedError if any of these options of Keras is given at all."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UnsupportedError(f"layer {layer!r}: {', '.join(given)} is not supported; save the model without it")
