"""The same numbers in another shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from everystep.engine import Array
from everystep.errors import OptionError, ShapeError
from everystep.layers.base import Layer


class Reshape(Layer):
    """Keras's Reshape: (B,...) as (B, *target_shape). It makes an end of the mask, unless the shape is the
    one that is there.

    It goes one step at a time where each step keeps its numbers, however many steps there are: target_shape begins
    with -1, and what follows holds as many numbers as a step.

    Args:
        target_shape: without the batch; one size may be -1, which follows from the others.
        options: of `Layer`.
    """

    config_names = ("target_shape",)
    passes_mask = False
    any_dtype = True

    def __init__(self, target_shape: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        whole = isinstance(target_shape, (list, tuple)) and all(
            isinstance(size, int) and not isinstance(size, bool) and (size == -1 or size >= 0) for size in target_shape
        )
        if not whole or list(target_shape).count(-1) > 1:
            raise OptionError(
                f"layer {self.name!r}: target_shape must be whole numbers, of which one may be -1; got {target_shape!r}"
            )
        self.target_shape = tuple(target_shape)

    def build(self, input_shape: Any) -> None:
        self._input_shape = input_shape

    def check(self, inputs: Any) -> None:
        if not len(inputs.shape):
            raise ShapeError(f"layer {self.name!r} takes (B,...); got a single number")
        self.compute_output_shape(tuple(inputs.shape))

    def apply_step(self, inputs_t: Array) -> Array:  # type: ignore[override]
        return inputs_t.reshape(inputs_t.shape[0], *self.target_shape[1:])

    def apply(self, inputs: Array) -> Array:
        return inputs.reshape(self.compute_output_shape(inputs.shape))

    def returns_its_input(self, before: Any, returned: Any) -> bool:
        return bool(before.shape == returned.shape)

    def step_obstacle(self) -> str | None:
        if not self.built:
            return None
        features, kept = self._input_shape[2:], self.target_shape[1:]
        if not self.target_shape or len(self._input_shape) < 2:
            return "it has no axis that could be time"
        if self.target_shape[0] != -1:
            return "its target_shape fixes the number of time steps: let it begin with -1"
        if None in features or math.prod(features) != math.prod(kept):
            return f"it moves numbers from one time step to another: a step holds {features}, and it makes {kept} of it"
        return None

    def compute_output_shape(self, input_shape: Any) -> Any:
        B, *others = input_shape
        known = math.prod(size for size in self.target_shape if size != -1)
        if None in others:
            return (B, *(None if size == -1 else size for size in self.target_shape))
        numbers = math.prod(others)
        found = tuple((numbers // known if known else 0) if size == -1 else size for size in self.target_shape)
        if math.prod(found) != numbers:
            raise ShapeError(
                f"layer {self.name!r} makes {self.target_shape} of each row, which its {numbers} numbers "
                f"{tuple(others)} do not fill"
            )
        return (B, *found)

    def output_dtype(self, inputs: Any) -> str:
        return str(inputs.dtype)
