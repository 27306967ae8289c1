"""Products of two arrays along an axis of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.errors import OptionError, ShapeError, UnsupportedError
from everystep.layers.base import Layer
from everystep.layers.checks import check_flags, shapes_of, sizes_fit

LEAST_NORM = 1e-7  # Keras divides by no less


class Dot(Layer):
    """Keras's Dot: of arrays (B,M,K) and (B,N,K), each row's products (B,M,N), summed along an axis of each.

    Products are summed in the order of K, each row's by itself.

    Args:
        axes: one axis for both, or one for each; counted with the batch axis, or from the last axis.
        normalize: whether both are divided by their lengths along the axis first, so that cosines come.
        options: of `Layer`.

    At a step the first array may be (B,K) beside the whole second one; two sequences that grow cannot go step by step.
    """

    config_names = ("axes", "normalize")
    passes_mask = False

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **options: Any) -> None:
        super().__init__(**options)
        both = [axes, axes] if isinstance(axes, int) else axes
        whole = isinstance(both, (list, tuple)) and len(both) == 2
        if not whole or not all(isinstance(axis, int) and not isinstance(axis, bool) for axis in both):
            raise OptionError(f"layer {self.name!r}: axes must be one or two whole numbers; got {axes!r}")
        self.axes = axes
        self.normalize = normalize
        check_flags(self, "normalize")

    def build(self, input_shape: Any) -> None:
        self._ranks = [len(shape) for shape in input_shape]

    def check(self, inputs: Any) -> None:
        if not isinstance(inputs, (list, tuple)) or len(inputs) != 2:
            got = len(inputs) if isinstance(inputs, (list, tuple)) else type(inputs).__name__
            raise ShapeError(f"layer {self.name!r} takes a list of 2 arrays; got {got}")
        super().check(inputs)
        shapes = shapes_of(inputs)
        fits = sizes_fit(shapes[0][:1], shapes[1][:1])
        for axis, shape in zip(self._two_axes, shapes, strict=True):
            fits = fits and -len(shape) <= axis < len(shape) and axis % len(shape) > 0
        a, b = self._two_axes
        if not fits or not sizes_fit((shapes[0][a],), (shapes[1][b],)):
            raise ShapeError(
                f"layer {self.name!r} takes arrays of one batch and of equal size along axes {self.axes}, which are "
                f"not the batch; got {', '.join(map(str, shapes))}"
            )

    @property
    def _two_axes(self) -> list[int]:
        return [self.axes, self.axes] if isinstance(self.axes, int) else list(self.axes)

    def apply(self, inputs: list[Array]) -> Array:
        x, y = (np.moveaxis(v, axis, last) for v, axis, last in zip(inputs, self._two_axes, (-1, 1), strict=True))
        if self.normalize:
            x, y = normalized(x, -1), normalized(y, 1)
        B, K, free_x, free_y = x.shape[0], x.shape[-1], x.shape[1:-1], y.shape[2:]
        found = summed_products(
            x.reshape(B, math.prod(free_x), K), y.reshape(B, K, math.prod(free_y)), np.dtype(self.dtype)
        )
        return found.reshape(B, *(free_x + free_y or (1,)))

    def step(self, inputs_t: Any, state: Any = None, **call: Any) -> tuple[Any, Any]:
        if isinstance(inputs_t, (list, tuple)) and self.built and len(inputs_t) == 2:
            stepped = [x.ndim < rank for x, rank in zip(inputs_t, self._ranks, strict=True)]
            if stepped != [True, False] or self._two_axes[0] % self._ranks[0] == 1:
                raise UnsupportedError(
                    f"layer {self.name!r} cannot go one step at a time: it sums along time, or makes a row for each "
                    "step of its second array. Stream the first array alone, and name what the second comes from in "
                    "static"
                )
            return self.run([inputs_t[0][:, None], inputs_t[1]])[0][:, 0], ()
        return super().step(inputs_t, state, **call)

    def compute_output_shape(self, input_shape: Any) -> Any:
        left = [list(shape) for shape in input_shape]
        for shape, axis in zip(left, self._two_axes, strict=True):
            shape.pop(axis)
        free = left[0][1:] + left[1][1:]
        return (left[0][0], *(free or [1]))


def normalized(x: Array, axis: int) -> Array:
    """x, divided by its length along the axis."""
    inverse = 1 / np.sqrt(np.add.accumulate(x * x, axis=axis).take([-1], axis=axis)) if x.shape[axis] else x
    return np.asarray(x * np.minimum(inverse, np.asarray(1 / LEAST_NORM, x.dtype)))


def summed_products(x: Array, y: Array, dtype: np.dtype[Any]) -> Array:
    """(B,M,K) by (B,K,N), each number summed in the order of K, so that its bits depend on its own row alone."""
    found = np.zeros((x.shape[0], x.shape[1], y.shape[2]), dtype)
    for k in range(x.shape[2]):
        found += x[:, :, k, None] * y[:, k, None, :]
    return found


def dot(inputs: Any, axes: int | Sequence[int] = -1, **options: Any) -> Any:
    """Of a list of two: `Dot(axes, **options)(inputs)`."""
    return Dot(axes=axes, **options)(inputs)
