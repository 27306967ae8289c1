"""What a model in a model is given in another dtype than its input's: ids, where a Sequential takes float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.layers.base import Layer
from everystep.layers.checks import converted
from everystep.layers.tensor import Array, Tensor


def may_become(dtype: str, wanted: str) -> bool:
    """Whether such an input is cast, as in Keras: whole numbers and bool are; fractions are not rounded unseen."""
    kinds = np.dtype(dtype).kind, np.dtype(wanted).kind
    return dtype == wanted or (kinds[0] in "biu" and kinds[1] in "iuf")


def as_input(model: str, tensor: Tensor, array: Array) -> Array:
    """The array for an input, in the input's dtype.

    Raises:
        DtypeError: the dtype cannot hold a number in it.
    """
    return converted(f"model {model!r}: input {tensor.name!r}", array, tensor.dtype)


class InputCast(Layer):
    """`as_input` as a call of a stream."""

    any_dtype = True

    def __init__(self, model: str, tensor: Tensor) -> None:
        super().__init__(name=f"{tensor.name}_cast")
        self._model, self._tensor = model, tensor

    def apply(self, inputs: Array) -> Array:
        return as_input(self._model, self._tensor, inputs)

    def returns_its_input(self, before: Any, returned: Any) -> bool:
        return before is returned

    def output_dtype(self, inputs: Any) -> str:
        return self._tensor.dtype
