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


class InputCast(Layer):
    """The array for an input, in the input's dtype.

    Raises, when it runs:
        DtypeError: the dtype cannot hold a number in it.
    """

    any_dtype = True

    def __init__(self, model: str, tensor: Tensor) -> None:
        super().__init__(name=f"{tensor.name}_cast")
        self._where = f"model {model!r}: input {tensor.name!r}"
        self._wanted = tensor.dtype

    def apply(self, inputs: Array) -> Array:
        return converted(self._where, inputs, self._wanted)

    def returns_its_input(self, before: Any, returned: Any) -> bool:
        return before is returned

    def output_dtype(self, inputs: Any) -> str:
        return self._wanted
