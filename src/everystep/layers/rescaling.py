"""Numbers brought into another range."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.errors import DtypeError, OptionError, ShapeError
from everystep.layers.base import Layer
from everystep.layers.checks import sizes_fit


class AnyNumbers(Layer):
    """The base of layers that take whole numbers and bools besides numbers of their own dtype."""

    any_dtype = True

    def check(self, inputs: Any) -> None:
        if np.dtype(str(inputs.dtype)).kind not in "biu" and str(inputs.dtype) != self.dtype:
            raise DtypeError(
                f"layer {self.name!r} is {self.dtype}, and takes that, whole numbers and bools; its input is "
                f"{inputs.dtype}. Give the layer, or the Input, the same dtype"
            )


def numbers(layer: str, argument: str, value: Any) -> Any:
    """A number or lists of them, from those, an array, or Keras's config of an array.

    Raises:
        OptionError: it holds something else.
    """
    if isinstance(value, dict) and value.get("class_name") in ("__numpy__", "__tensor__"):
        value = value.get("config", {}).get("value")
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise OptionError(f"layer {layer!r}: {argument} must be a number or lists of numbers; got {value!r}")
    return array.tolist()


class Rescaling(AnyNumbers):
    """Keras's Rescaling: x scale + offset.

    Args:
        scale, offset: a number, or one for each feature.
        options: of `Layer`.
    """

    config_names = ("scale", "offset")

    def __init__(self, scale: Any, offset: Any = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.scale = numbers(self.name, "scale", scale)
        self.offset = numbers(self.name, "offset", offset)
        for name in ("scale", "offset"):
            if np.ndim(getattr(self, name)) > 1:
                raise OptionError(f"layer {self.name!r}: {name} must be one number, or one for each feature")

    def check(self, inputs: Any) -> None:
        super().check(inputs)
        given = {np.size(one) for one in (self.scale, self.offset)} - {1}
        size = inputs.shape[-1] if len(inputs.shape) else 1
        if len(given) > 1 or not sizes_fit(tuple(given), (size,) * len(given)):
            raise ShapeError(
                f"layer {self.name!r} has scale and offset for {' and '.join(map(str, sorted(given)))} features; its "
                f"input is {tuple(inputs.shape)}"
            )

    def apply(self, inputs: Array) -> Array:
        scale, offset = (np.asarray(one, self.dtype) for one in (self.scale, self.offset))
        y: Array = inputs.astype(self.dtype) * scale + offset
        return y
