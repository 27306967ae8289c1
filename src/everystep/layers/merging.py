"""Several arrays made into one, number by number: sums, products, means, the largest and the smallest."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.errors import ShapeError, UnsupportedError
from everystep.layers import masks
from everystep.layers.base import Layer
from everystep.layers.checks import shapes_of
from everystep.layers.tensor import Shape


class Merge(Layer):
    """The base of layers that take a list of arrays (B,...) and return one, number by number.

    Sizes fit as NumPy's do, from the last axis on; an array of fewer axes gets axes of size 1 after the batch, so a
    vector (B,H) beside sequences (B,T,H) counts as (B,1,H). Where every array has a mask, the output's is their `or`.

    At a step, arrays without the time axis stand beside whole ones that have none, or one of size 1.

    Args:
        options: of `Layer`.

    Raises:
        ShapeError: the inputs are no list, or their count or their shapes do not fit. DtypeError: as every layer.
    """

    wanted: int | None = None  # how many inputs; None: one or more
    by_mask = False  # whether the numbers depend on the masks

    def build(self, input_shape: Any) -> None:
        self._ranks = [len(shape) for shape in input_shape]

    def check(self, inputs: Any) -> None:
        if not isinstance(inputs, (list, tuple)) or not inputs:
            raise ShapeError(f"layer {self.name!r} takes a list of one array or more; got {type(inputs).__name__}")
        if self.wanted not in (None, len(inputs)):
            raise ShapeError(f"layer {self.name!r} takes a list of {self.wanted} arrays; got {len(inputs)}")
        super().check(inputs)
        self.compute_output_shape(shapes_of(inputs))

    def takes_implicit_mask(self, call: dict[str, Any]) -> bool:
        return self.by_mask

    def enters_mask(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        return False  # as in Keras, where the masks travel with the arrays

    def merged(self, inputs: list[Array], mask: list[Array | None]) -> Array:
        """What comes of arrays of equally many axes, each with its mask, of the array's shape, or None."""
        raise NotImplementedError

    def apply_step(self, inputs_t: list[Array], mask: Any = None) -> Array:  # type: ignore[override]
        return self.apply(self._of_one_step(list(inputs_t)), mask)

    def apply(self, inputs: list[Array], mask: Any = None) -> Array:
        mask = [None] * len(inputs) if mask is None else mask
        rank = max(x.ndim for x in inputs)
        # As in Keras, the numbers of an array that gets more axes are taken without its mask.
        seen = [self._of_numbers(one, x) if one is not None and x.ndim == rank else None
                for x, one in zip(inputs, mask, strict=True)]  # fmt: skip
        return self.merged([x.reshape(*x.shape[:1], *[1] * (rank - x.ndim), *x.shape[1:]) for x in inputs], seen)

    def _of_one_step(self, inputs: list[Array]) -> list[Array]:
        """The arrays of a step; those that are whole without their time axis of size 1."""
        in_step = (
            [self.built and x.ndim < rank for x, rank in zip(inputs, self._ranks, strict=True)] if self.built else []
        )
        if not any(in_step):
            return inputs
        most = max(self._ranks)
        for place, (x, stepped) in enumerate(zip(inputs, in_step, strict=True)):
            if stepped and self._ranks[place] != most:
                raise UnsupportedError(
                    f"layer {self.name!r} cannot go one step at a time: beside an array of {most} axes, the time axis "
                    f"of one of {self._ranks[place]} is taken for another axis"
                )
            if not stepped and x.ndim == most:
                if x.shape[1] != 1:
                    raise UnsupportedError(
                        f"layer {self.name!r} cannot go one step at a time: it was given one step beside a whole "
                        f"sequence of {x.shape[1]} steps"
                    )
                inputs[place] = x[:, 0]
        return inputs

    def _of_numbers(self, mask: Array, x: Array) -> Array:
        """A mask (B,T) for each number of x (B,T,H)."""
        if mask.ndim + 1 != x.ndim:
            raise ShapeError(
                f"layer {self.name!r}: a mask must have one axis less than its array; got {mask.shape} for {x.shape}"
            )
        return np.broadcast_to(mask[..., None], x.shape)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        if mask is None or any(one is None for one in mask):
            return None
        return reduce(lambda a, b: masks.apply("LogicalOr", a, b), mask)

    def compute_output_shape(self, input_shape: Any) -> Any:
        most = max(len(shape) for shape in input_shape)
        batch: set[int | None] = {shape[0] for shape in input_shape if shape} - {None}
        padded = [(*shape[:1], *[1] * (most - len(shape)), *shape[1:]) for shape in input_shape]
        if len(batch) > 1 or not all(len(shape) for shape in input_shape):
            raise self._unfit(input_shape)
        sizes: list[int | None] = []
        for along in zip(*(shape[1:] for shape in padded), strict=True):
            known = set(along) - {1, None}
            if len(known) > 1:
                raise self._unfit(input_shape)
            sizes.append(None if None in along and not known else max(known, default=1))
        return (batch.pop() if batch else None, *sizes)

    def _unfit(self, shapes: list[Shape]) -> ShapeError:
        return ShapeError(
            f"layer {self.name!r} takes arrays of one batch whose other sizes are equal or 1, counted from the last "
            f"axis; got {', '.join(map(str, shapes))}"
        )


class Add(Merge):
    """Keras's Add: the sum, from the first array to the last."""

    def merged(self, inputs: list[Array], mask: list[Array | None]) -> Array:
        return reduce(np.add, inputs)


class Subtract(Merge):
    """Keras's Subtract: the first array less the second."""

    wanted = 2

    def merged(self, inputs: list[Array], mask: list[Array | None]) -> Array:
        first, second = inputs
        return np.asarray(first - second)


class Average(Merge):
    """Keras's Average: the sum, divided by how many there are; masks do not change it."""

    def merged(self, inputs: list[Array], mask: list[Array | None]) -> Array:
        return np.asarray(reduce(np.add, inputs) / len(inputs))


class Multiply(Merge):
    """Keras's Multiply: the product. A masked step counts as 1; where every array is masked the product is 0."""

    by_mask = True

    def merged(self, inputs: list[Array], mask: list[Array | None]) -> Array:
        one, zero = np.ones((), self.dtype), np.zeros((), self.dtype)
        product = reduce(
            np.multiply, (x if seen is None else np.where(seen, x, one) for x, seen in zip(inputs, mask, strict=True))
        )
        seen = [part for part in mask if part is not None]
        return np.where(reduce(np.logical_or, seen), product, zero) if len(seen) == len(inputs) else product


class _Extreme(Merge):
    """The largest or the smallest of those that are not masked, taken from the first array to the last.

    As in Keras: what is masked gives way to what came before it; once an array has no mask, so has all before it.
    """

    by_mask = True
    choose: Callable[..., Any]

    def merged(self, inputs: list[Array], mask: list[Array | None]) -> Array:
        found, so_far = inputs[0], mask[0]
        for x, seen in zip(inputs[1:], mask[1:], strict=True):
            other = x if seen is None else np.where(seen, x, found)
            if so_far is not None:
                found = np.where(so_far, found, other)
            so_far = None if so_far is None or seen is None else np.logical_or(so_far, seen)
            found = type(self).choose(found, other)
        return found


class Maximum(_Extreme):
    """Keras's Maximum: the largest of the numbers that are not masked."""

    choose = staticmethod(np.maximum)


class Minimum(_Extreme):
    """Keras's Minimum: the smallest of the numbers that are not masked."""

    choose = staticmethod(np.minimum)


# ---- The same as functions ----


def add(inputs: Any, **options: Any) -> Any:
    """Of a list: `Add(**options)(inputs)`."""
    return Add(**options)(inputs)


def subtract(inputs: Any, **options: Any) -> Any:
    """Of a list of two: `Subtract(**options)(inputs)`."""
    return Subtract(**options)(inputs)


def multiply(inputs: Any, **options: Any) -> Any:
    """Of a list: `Multiply(**options)(inputs)`."""
    return Multiply(**options)(inputs)


def average(inputs: Any, **options: Any) -> Any:
    """Of a list: `Average(**options)(inputs)`."""
    return Average(**options)(inputs)


def maximum(inputs: Any, **options: Any) -> Any:
    """Of a list: `Maximum(**options)(inputs)`."""
    return Maximum(**options)(inputs)


def minimum(inputs: Any, **options: Any) -> Any:
    """Of a list: `Minimum(**options)(inputs)`."""
    return Minimum(**options)(inputs)
