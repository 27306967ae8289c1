"""Layers whose outputs each look at a window of steps: convolutions, pooling, cropping.

Output j covers the steps from j s on, `size` of them, d apart: s is the stride, d the dilation. It is complete when the
last of them has come. So a layer with a stride, or without padding before the sequence, has a clock of its own: not
every step completes an output. Its state ends with

    wait (B)      how many steps more there are before the one that completes the next output
    last (B,F)    the newest complete output; NaN before the first
    fresh (B)     whether the newest step completed it

and a step returns `last`; `run` returns the outputs that its chunk completes, so that those of all chunks, one after
the other, are those of the whole sequence. Before them stands the window (B,span-1,I): the steps that later outputs
look at.

B batch, T time steps, I input features, F output features.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import numpy as np

from everystep.engine import Array
from everystep.errors import OptionError, ShapeError, UnsupportedError
from everystep.layers.activations import ALONG_LAST_AXIS
from everystep.layers.base import Layer, State
from everystep.layers.checks import parts_of_state, require_arrays, whole_number
from everystep.layers.tensor import Tensor

FORMATS = ("channels_last", "channels_first")


class Window(NamedTuple):
    """Which steps an output looks at.

    Attributes:
        size, stride, dilation: see above.
        first: how many steps come before the one that completes output 0.
    """

    size: int
    stride: int
    dilation: int
    first: int

    @property
    def span(self) -> int:
        """From the first step of a window to its last, both counted."""
        return (self.size - 1) * self.dilation + 1

    def completed(self, steps: int, wait: int) -> int:
        """How many outputs that many steps complete, the first of them after `wait` steps."""
        return max(0, -(-(steps - wait) // self.stride))

    def tap(self, x: Array, count: int, k: int) -> Array:
        """Step k of each of `count` windows, (B,count,I), of x (B,T,I) in which window 0 begins at once."""
        start = k * self.dilation
        return x[:, start : max(start, start + (count - 1) * self.stride + 1) : self.stride]


def one_number(layer: str, argument: str, value: Any) -> tuple[int]:
    """A whole number from 1 on, alone or in a list or tuple as Keras's configs hold it, in a tuple."""
    if isinstance(value, (list, tuple)) and len(value) != 1:
        raise OptionError(f"layer {layer!r}: {argument} must be one whole number; got {value!r}")
    return (whole_number(layer, argument, value[0] if isinstance(value, (list, tuple)) else value),)


def two_numbers(layer: str, argument: str, value: Any) -> tuple[int, int]:
    """Two whole numbers from 0 on, or one for both, in a tuple."""
    both = list(value) if isinstance(value, (list, tuple)) else [value, value]
    if len(both) != 2 or any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0 for n in both):
        raise OptionError(f"layer {layer!r}: {argument} must be a whole number from 0 on, or two; got {value!r}")
    return int(both[0]), int(both[1])


def one_of(layer: str, argument: str, value: Any, allowed: tuple[str, ...]) -> str:
    """One of these words, in small letters."""
    word = value.lower() if isinstance(value, str) else value
    if word not in allowed:
        raise OptionError(f"layer {layer!r}: {argument} must be one of {', '.join(allowed)}; got {value!r}")
    return str(word)


def data_format_of(layer: str, value: Any) -> str:
    """ "channels_last", which None is, or "channels_first"."""
    return one_of(layer, "data_format", FORMATS[0] if value is None else value, FORMATS)


def time_second(x: Array, data_format: str) -> Array:
    """(B,T,I) of (B,T,I), or of (B,I,T) where the channels come first; and back."""
    return x if data_format == FORMATS[0] else x.swapaxes(1, 2)


def check_sequences(layer: Layer, inputs: Any, data_format: str = FORMATS[0]) -> None:
    """Raises ShapeError unless inputs have three axes, with as many features as the layer was built for."""
    shape, axis = tuple(inputs.shape), 2 if data_format == FORMATS[0] else 1
    wanted = layer.built_shape[axis] if layer.built else None
    if len(shape) != 3 or shape[axis] is None or wanted not in (None, shape[axis]):
        words = f"(B,T,{wanted or 'I'})" if axis == 2 else f"(B,{wanted or 'I'},T)"
        raise ShapeError(f"layer {layer.name!r} takes {words}, with a known number of features; got {shape}")


FIRST_OBSTACLE = "data_format='channels_first' has time as the last axis; a stream goes along the second"


class Windowed(Layer):
    """The base: a layer says with `set_windows` what it looks at, and in `over` what it makes of it."""

    passes_mask = False  # as in Keras, which drops a mask here
    refuses_short: ClassVar[bool] = False  # as Keras: a whole sequence that completes no output, as it runs
    fill: ClassVar[float] = 0.0  # what stands around the sequence with padding="same"

    window: Window
    data_format: str
    looks_ahead: bool

    def set_windows(
        self, size: int, stride: int = 1, dilation: int = 1, padding: str = "valid", data_format: Any = None
    ) -> None:
        self.data_format = data_format_of(self.name, data_format)
        activation = getattr(self, "activation", None)
        if self.data_format != FORMATS[0] and activation in ALONG_LAST_AXIS:
            raise UnsupportedError(
                f"layer {self.name!r}: activation {activation!r} goes along the last axis, which is time with "
                "data_format='channels_first'; use 'channels_last'"
            )
        span = (size - 1) * dilation + 1
        self.looks_ahead = padding == "same" and span > 1
        self.window = Window(size, stride, dilation, span - 1 if padding == "valid" else 0)
        self.own_clock = not self.looks_ahead and (self.window.first > 0 or stride > 1)

    def over(self, x: Array, count: int, real: Array | None) -> Array:
        """The outputs (B,count,F) of the first `count` windows of x (B,T,I), of which the first begins at once.

        Args:
            real: (count), how many steps of each window are of the sequence; None: all.
        """
        raise NotImplementedError

    def features(self, I: int) -> int:
        """F."""
        return I

    # ---- Run and step ----

    def run(self, inputs: Any, state: State = None, **call: Any) -> tuple[Any, State]:
        """Whole sequences, or the next chunk of them: the outputs that they complete (B,n,F), and the state.

        Raises:
            ShapeError: without a state, which is a whole sequence: it is too short for a window, where Keras says so.
            OptionError: the rows of a state wait for different steps, so that one completes more outputs than another.
        """
        require_arrays(self.name, inputs)
        x = np.ascontiguousarray(time_second(inputs, self.data_format))
        with np.errstate(all="ignore"):
            outputs, state = (self._padded_around(x), ()) if self.looks_ahead else self._advanced(x, state)
        return np.ascontiguousarray(time_second(outputs, self.data_format)), state

    def _padded_around(self, x: Array) -> Array:
        """padding="same": ceil(T / s) outputs; the odd one of the steps that are missing stands after the sequence."""
        w, T = self.window, x.shape[1]
        count = w.completed(T, 0)
        missing = max((count - 1) * w.stride + w.span - T, 0)
        left = missing // 2
        around = ((0, 0), (left, missing - left), (0, 0))
        places = np.arange(count)[:, None] * w.stride + np.arange(w.size) * w.dilation
        real = ((places >= left) & (places < left + T)).sum(axis=1)
        return self.over(np.pad(x, around, constant_values=self.fill), count, real)

    def _advanced(self, x: Array, state: State) -> tuple[Array, State]:
        w, (B, T) = self.window, x.shape[:2]
        before, clock = self._parts(state, B)
        wait = w.first
        if clock and B:
            wait = int(clock[0][0])
            if (clock[0] != wait).any():
                raise OptionError(
                    f"layer {self.name!r}: the rows of its state wait for different steps ({clock[0].min()} to "
                    f"{clock[0].max()} more), so that a run completes more outputs of one than of another. Go step by "
                    "step, or run rows that began together"
                )
        count = w.completed(T, wait)
        carries = bool(clock) or w.span > 1  # else a chunk without steps comes without a state too
        if state is None and carries and not count and self.refuses_short:
            raise ShapeError(
                f"layer {self.name!r} needs sequences of {w.first + 1} steps or more, for one output; got {T} steps"
            )
        x = np.concatenate([before, x], axis=1)
        outputs = self.over(x[:, wait:], count, None)
        parts = self._kept(x)
        if clock:
            last, fresh = clock[1:]
            if T:
                fresh = np.full(B, count > 0 and wait + (count - 1) * w.stride == T - 1)
            left = np.full(B, wait + count * w.stride - T, np.int64)
            parts += [left, outputs[:, -1].copy() if count else last.copy(), fresh.copy()]
        return outputs, tuple(parts)

    def step(self, inputs_t: Any, state: State = None, **call: Any) -> tuple[Any, State]:
        """One step (B,I): the newest complete output (B,F), and the state."""
        self.check_step()
        require_arrays(self.name, inputs_t)
        before, clock = self._parts(state, inputs_t.shape[0])
        x = np.concatenate([before, inputs_t[:, None]], axis=1)
        with np.errstate(all="ignore"):
            output = self.over(x, 1, None)[:, 0]
        parts = self._kept(x)
        if clock:
            wait, last, _ = clock
            fresh = wait == 0
            output = np.where(fresh[:, None], output, last)
            parts += [np.where(fresh, self.window.stride, wait) - 1, output.copy(), fresh]
        return output, tuple(parts)

    # ---- State ----

    def initial_state(self, batch_size: int) -> State:
        if self.looks_ahead:
            return ()
        self._require_built("a state")
        B, I = batch_size, self.built_shape[2 if self.data_format == FORMATS[0] else 1]
        parts = [np.zeros((B, self.window.span - 1, I), self.dtype)] if self.window.span > 1 else []
        if self.own_clock:
            last = np.full((B, self.features(I)), np.nan, self.dtype)
            parts += [np.full(B, self.window.first, np.int64), last, np.zeros(B, bool)]
        return tuple(parts)

    def _parts(self, state: State, B: int) -> tuple[Array, list[Array]]:
        """The window (B,span-1,I), and wait, last, fresh where it has its own clock."""
        first = self.initial_state(B)
        parts = first
        if state is not None:
            wanted = f"{len(first)} arrays of shape {', '.join(str(one.shape) for one in first)}"
            parts = parts_of_state(self.name, state, len(first), wanted)
            for one, other in zip(parts, first, strict=True):
                if one.shape != other.shape or one.dtype != other.dtype:
                    raise ShapeError(
                        f"layer {self.name!r}: the state must be {wanted}, of "
                        f"{', '.join(str(v.dtype) for v in first)}; got {one.dtype} of shape {one.shape}. Pass what "
                        "run or step returned, or None to begin"
                    )
        if self.window.span > 1:
            return parts[0], list(parts[1:])
        I = self.built_shape[2 if self.data_format == FORMATS[0] else 1]
        return np.empty((B, 0, I), self.dtype), list(parts)

    def _kept(self, x: Array) -> list[Array]:
        """The window that the next step begins with."""
        return [x[:, x.shape[1] - self.window.span + 1 :].copy()] if self.window.span > 1 else []

    # ---- Shapes ----

    def check(self, inputs: Any) -> None:
        super().check(inputs)
        check_sequences(self, inputs, self.data_format)
        if isinstance(inputs, Tensor) and self.steps_of(self.time_of(inputs.shape)) == 0 != self.time_of(inputs.shape):
            raise ShapeError(
                f"layer {self.name!r} needs sequences of {self.window.first + 1} steps or more, for one output; got "
                f"{tuple(inputs.shape)}"
            )

    def time_of(self, shape: Any) -> int | None:
        T: int | None = shape[1 if self.data_format == FORMATS[0] else 2]
        return T

    def steps_of(self, T: int | None) -> int | None:
        """How many outputs T steps complete."""
        return None if T is None else self.window.completed(T, self.window.first)

    def compute_output_shape(self, input_shape: Any) -> Any:
        last = self.data_format == FORMATS[0]
        T, F = self.steps_of(self.time_of(input_shape)), self.features(input_shape[2 if last else 1])
        return (input_shape[0], T, F) if last else (input_shape[0], F, T)

    def step_obstacle(self) -> str | None:
        if self.looks_ahead:
            return (
                "padding='same' stands in part after the sequence, so that its newest outputs depend on where it ends. "
                "Use padding='causal' in a convolution, or 'valid'"
            )
        return FIRST_OBSTACLE if self.data_format != FORMATS[0] else None
