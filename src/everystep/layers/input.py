"""Where a model's data comes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from everystep.errors import OptionError, UnsupportedError
from everystep.layers.base import Layer
from everystep.layers.operation import Config
from everystep.layers.tensor import DTYPES, Node, Tensor


class InputLayer(Layer):
    """The layer behind `Input`, under its name in `model.layers`; same arguments."""

    any_dtype = True

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Sequence[int | None] | None = None,
        name: str | None = None,
        optional: bool = False,
    ) -> None:
        super().__init__(name=name)
        if (shape is None) == (batch_shape is None):
            raise OptionError(f"Input {self.name!r} needs shape or batch_shape, and not both")
        if batch_shape is not None and batch_size is not None:
            raise OptionError(f"Input {self.name!r}: batch_shape holds the batch size, so pass no batch_size")
        for option, value in (("sparse", sparse), ("ragged", ragged), ("optional", optional)):
            if value:
                raise UnsupportedError(f"Input {self.name!r}: {option}=True is not supported; pass dense arrays always")
        given = (batch_size, *self._sizes("shape", shape)) if shape is not None else batch_shape
        self.batch_shape = self._sizes("batch_shape", given)
        if not self.batch_shape:
            raise OptionError(f"Input {self.name!r}: batch_shape needs a batch axis; got ()")
        dtype = "float32" if dtype is None else dtype
        self.dtype = np.dtype(dtype).name if isinstance(dtype, (type, np.dtype)) else dtype
        if self.dtype not in DTYPES:  # and so never read by NumPy, which takes much in a string for a dtype
            raise UnsupportedError(f"Input {self.name!r}: dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")
        self.built_shape = self.batch_shape
        self.tensor = Tensor(self.batch_shape, self.dtype, self.name)
        Node(self, (), {}, self.tensor)

    def _sizes(self, argument: str, sizes: Any) -> tuple[int | None, ...]:
        if not isinstance(sizes, (list, tuple)):
            hint = f": write ({sizes},) for one axis" if isinstance(sizes, int) else ""
            raise OptionError(f"Input {self.name!r}: {argument} must be a tuple; got {sizes!r}{hint}")
        for size in sizes:
            if size is not None and (isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 0):
                raise OptionError(f"Input {self.name!r}: {argument} must hold whole numbers and None; got {sizes!r}")
        return tuple(None if size is None else int(size) for size in sizes)

    def apply(self, inputs: Any) -> Any:
        return inputs

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.get_config(),)  # its call comes with it

    def get_config(self) -> Config:
        return {
            "batch_shape": self.batch_shape,
            "dtype": self.dtype,
            "sparse": False,
            "ragged": False,
            "name": self.name,
            "optional": False,
        }


def _again(config: Config) -> InputLayer:
    return InputLayer(**config)


def Input(
    shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
    optional: bool = False,
) -> Tensor:
    """A symbolic tensor that stands for a model's input.

    Args:
        shape: without the batch; None for a size that may vary, as (None, 3) for sequences of any length.
        batch_size: in the shape only: `predict` takes any.
        dtype: float32, float64, a whole number's or bool; arrays are converted to it.
        batch_shape: the shape with the batch, in the place of the first two.
        name: what a dictionary of inputs calls it.
        sparse, ragged, optional: must be false.

    Raises:
        OptionError, UnsupportedError: an argument does not fit.
    """
    return InputLayer(shape, batch_size, dtype, sparse, ragged, batch_shape, name, optional).tensor
