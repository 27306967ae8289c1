"""The largest number, or the average, of each feature over all steps: in a stream, over those up to now."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from everystep.engine import Array
from everystep.errors import ShapeError
from everystep.layers.base import Layer, State
from everystep.layers.checks import check_flags, parts_of_state, require_arrays
from everystep.layers.windows import FIRST_OBSTACLE, FORMATS, check_sequences, data_format_of, time_second


class GlobalPooling(Layer):
    """The base. Its state goes through the steps in their order, so that bits do not depend on where they are cut.

    Args:
        data_format: "channels_last", or "channels_first": (B,I,T), which cannot be streamed.
        keepdims: whether the time axis stays, of one step.
        options: of `Layer`.
    """

    config_names = ("data_format", "keepdims")
    passes_mask = False  # no time, no mask

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.data_format = data_format_of(self.name, data_format)
        self.keepdims = keepdims
        check_flags(self, "keepdims")

    def through(self, x: Array, parts: list[Array], mask: Array | None) -> tuple[Array, tuple[Array, ...]]:
        """The output (B,I) after the steps x (B,T,I) on top of a state, and the state after them."""
        raise NotImplementedError

    def run(  # type: ignore[override]
        self, inputs: Any, state: State = None, *, mask: Array | None = None
    ) -> tuple[Any, State]:
        """Whole sequences, or the next chunk of them: the output over all steps up to its end, and the state."""
        require_arrays(self.name, inputs)
        x = np.ascontiguousarray(time_second(inputs, self.data_format))
        if mask is not None and mask.shape != x.shape[:2]:
            raise ShapeError(f"layer {self.name!r}: the mask must be (B,T), here {x.shape[:2]}; got {mask.shape}")
        with np.errstate(all="ignore"):
            y, state = self.through(x, self._parts(state, x.shape[0], x.shape[2]), mask)
        if self.keepdims:
            y = np.ascontiguousarray(time_second(y[:, None], self.data_format))
        return y, state

    def step(  # type: ignore[override]
        self, inputs_t: Any, state: State = None, *, mask: Array | None = None
    ) -> tuple[Any, State]:
        """One step (B,I); the output over all steps up to it."""
        self.check_step()
        require_arrays(self.name, inputs_t)
        return self.run(inputs_t[:, None], state, mask=None if mask is None else mask[:, None])

    def initial_state(self, batch_size: int) -> State:
        self._require_built("a state")
        return self.first_state(batch_size, self.built_shape[2 if self.data_format == FORMATS[0] else 1])

    def first_state(self, B: int, I: int) -> tuple[Array, ...]:
        """Before the first step."""
        raise NotImplementedError

    def _parts(self, state: State, B: int, I: int) -> list[Array]:
        first = self.first_state(B, I)
        if state is None:
            return list(first)
        wanted = f"{len(first)} arrays of shape {', '.join(str(one.shape) for one in first)}"
        parts = parts_of_state(self.name, state, len(first), wanted)
        for one, other in zip(parts, first, strict=True):
            if one.shape != other.shape:
                raise ShapeError(
                    f"layer {self.name!r}: the state must be {wanted}; got one of shape {one.shape}. Pass what run or "
                    "step returned, or None to begin"
                )
        return parts

    def check(self, inputs: Any) -> None:
        super().check(inputs)
        check_sequences(self, inputs, self.data_format)

    def compute_output_shape(self, input_shape: Any) -> Any:
        if self.data_format == FORMATS[0]:
            return (input_shape[0], *((1,) if self.keepdims else ()), input_shape[2])
        return (*input_shape[:2], *((1,) if self.keepdims else ()))

    def step_obstacle(self) -> str | None:
        return FIRST_OBSTACLE if self.data_format != FORMATS[0] else None


class GlobalAveragePooling1D(GlobalPooling):
    """Keras's GlobalAveragePooling1D: the average over all steps that are not masked, (B,T,I) to (B,I).

    NaN where all are masked, or there are none. Args: as `GlobalPooling`. The state: the sum (B,I), kept in float64 so
    that a stream may be long, and the count of steps (B).
    """

    call_arguments: ClassVar[tuple[str, ...]] = ("inputs", "mask")

    def first_state(self, B: int, I: int) -> tuple[Array, ...]:
        return np.zeros((B, I)), np.zeros(B, np.int64)

    def through(self, x: Array, parts: list[Array], mask: Array | None) -> tuple[Array, tuple[Array, ...]]:
        total, count = parts
        if mask is not None:
            x = np.where(mask[..., None], x, np.zeros((), x.dtype))
        seen = x.shape[1] if mask is None else mask.astype(bool).sum(axis=1)
        # accumulate adds one step after the other, whatever the sizes; sum would not.
        total = np.add.accumulate(np.concatenate([total[:, None], x], axis=1), axis=1)[:, -1].copy()
        count = count + seen
        return (total / count[:, None]).astype(self.dtype), (total, count)


class GlobalMaxPooling1D(GlobalPooling):
    """Keras's GlobalMaxPooling1D: the largest number over all steps, masked or not, (B,T,I) to (B,I).

    Args: as `GlobalPooling`. The state: the largest number up to now (B,I), minus infinity before the first step.

    Raises, when it runs:
        ShapeError: the whole sequence has no steps.
    """

    def first_state(self, B: int, I: int) -> tuple[Array, ...]:
        return (np.full((B, I), -np.inf, self.dtype),)

    def run(  # type: ignore[override]
        self, inputs: Any, state: State = None, *, mask: Array | None = None
    ) -> tuple[Any, State]:
        require_arrays(self.name, inputs)
        if state is None and not time_second(inputs, self.data_format).shape[1]:
            raise ShapeError(f"layer {self.name!r} needs sequences of one step or more; got {tuple(inputs.shape)}")
        return super().run(inputs, state)

    def through(self, x: Array, parts: list[Array], mask: Array | None) -> tuple[Array, tuple[Array, ...]]:
        largest = np.maximum.accumulate(np.concatenate([parts[0][:, None], x], axis=1), axis=1)[:, -1].copy()
        return largest.copy(), (largest,)
