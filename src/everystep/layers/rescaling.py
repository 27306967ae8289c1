"""Numbers brought into another range."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.errors import DtypeError, OptionError, ShapeError
from everystep.layers.base import Layer


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
        sizes = {np.size(self.scale), np.size(self.offset), *tuple(inputs.shape)[-1:]} - {1, None}
        if len(sizes) > 1:
            raise ShapeError(
                f"layer {self.name!r} has scale and offset for {np.size(self.scale)} and {np.size(self.offset)} "
                f"features, which must be those of the input, or 1; its input is {tuple(inputs.shape)}"
            )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Of one feature there come as many as scale and offset have, which in Keras the shape does not say."""
        size = max(np.size(self.scale), np.size(self.offset))
        return (*input_shape[:-1], size) if input_shape and size > 1 else input_shape

    def apply(self, inputs: Array) -> Array:
        scale, offset = (np.asarray(one, self.dtype) for one in (self.scale, self.offset))
        y: Array = inputs.astype(self.dtype) * scale + offset
        return y
