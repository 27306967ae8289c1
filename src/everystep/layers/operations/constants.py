"""What a config holds in the arguments of a call besides tensors and numbers: slices, ..., and arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.errors import OptionError, UnsupportedError
from everystep.layers.tensor import DTYPES

CONSTANTS = ("__slice__", "__ellipsis__", "__numpy__", "__tensor__")


def is_constant(entry: Any) -> bool:
    """Whether it is one of these, as Keras writes it."""
    return isinstance(entry, dict) and entry.get("class_name") in CONSTANTS


def encoded(value: Any) -> Any:
    """As Keras writes it; another value as it is."""
    if value is ...:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(value, slice):
        return {"class_name": "__slice__", "config": {"start": value.start, "stop": value.stop, "step": value.step}}
    if isinstance(value, np.ndarray):
        return {"class_name": "__numpy__", "config": {"value": value.tolist(), "dtype": value.dtype.name}}
    return value


def decoded(entry: dict[str, Any]) -> Any:
    """The way back.

    Raises:
        OptionError: a slice's ends are no whole numbers, or an array's entries no array of its dtype.
        UnsupportedError: an array's dtype.
    """
    kind, config = entry["class_name"], entry.get("config") or {}
    if kind == "__ellipsis__":
        return ...
    if kind == "__slice__":
        ends = [config.get(name) for name in ("start", "stop", "step")]
        if not all(n is None or (isinstance(n, int) and not isinstance(n, bool)) for n in ends):
            raise OptionError(f"a slice's start, stop and step must be whole numbers or null; got {ends}")
        return slice(*ends)
    dtype, value = config.get("dtype"), config.get("value")
    if dtype not in DTYPES:
        raise UnsupportedError(f"a constant array's dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    try:
        found = np.array(value)
        if found.dtype.kind not in "biuf":
            raise ValueError(f"got {found.dtype}")
        return found.astype(dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise OptionError(f"a constant array of {dtype} must hold numbers, as many in each row: {error}") from error
