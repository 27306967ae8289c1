"""Clocks of a stream: which of its steps complete a step of a sequence inside, as after pooling.

A value without a clock has a new step at every step of the stream. After a layer with `own_clock` it has one in the
rows that are *fresh*; in the others it stays as it was, and so must the states of all that follows. B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from everystep.layers.tensor import Array


@dataclass(eq=False)
class Clock:
    """When steps are complete.

    Attributes:
        key: equal for clocks that complete steps together: (first, stride) where they come every `stride` steps of the
            stream after the `first` ones.
        fresh: (B) bool, the rows in which the newest step of the stream completed one.
        arrived: (B) bool, the rows in which any did.
    """

    key: Any
    fresh: Array
    arrived: Array


def key_after(layer: Any, before: Clock | None) -> Any:
    """The key of the clock of what a layer with its own clock returns, on top of that of what it takes."""
    first, stride = (0, 1) if before is None else before.key if len(before.key) == 2 else (None, None)
    window = getattr(layer, "window", None)
    if window is None or first is None:
        return (id(layer), None if before is None else before.key, "own")  # like no other
    return first + window.first * stride, stride * window.stride


def same_time(clocks: Iterable[Clock | None]) -> bool:
    """Whether all complete their steps together."""
    return len({(0, 1) if clock is None else clock.key for clock in clocks}) <= 1


def by_row(flags: Array, array: Array) -> Array:
    """Flags (B) that go with an array (B,...)."""
    return flags.reshape(-1, *[1] * (array.ndim - 1))


def only_fresh(
    steps: list[Callable[[], object]], clock: Clock, kept: list[Array], own: Clock | None
) -> Callable[[], None]:
    """One call of all the steps, which changes the rows of `kept` where the clock is fresh, and those alone.

    Args:
        own: of what they return; its steps are complete only where those that it takes are.
    """
    before, stale = [np.empty_like(array) for array in kept], np.empty_like(clock.fresh)
    wheres = [by_row(stale, array) for array in kept]

    def step() -> None:
        if not clock.fresh.any():
            if own is not None:
                own.fresh.fill(False)
            return
        np.logical_not(clock.fresh, stale)
        for array, old in zip(kept, before, strict=True):
            np.copyto(old, array)
        for one in steps:
            one()
        for array, old, where in zip(kept, before, wheres, strict=True):
            np.copyto(array, old, where=where)
        if own is not None:
            only_where_fresh(own, clock)

    return step


def only_where_fresh(own: Clock, clock: Clock) -> None:
    """What a layer returns is no newer than what it took."""
    np.logical_and(own.fresh, clock.fresh, own.fresh)


def note_arrival(clock: Clock) -> None:
    np.logical_or(clock.arrived, clock.fresh, clock.arrived)


def absent(array: Array) -> Any:
    """What stands for a step that is not there yet: NaN, or 0 where there is none."""
    return np.nan if array.dtype.kind == "f" else 0


def show(array: Array, clock: Clock, shown: Array) -> None:
    """An output, and NaN in the rows that have no step of it yet."""
    shown.fill(absent(shown))
    np.copyto(shown, array, where=by_row(clock.arrived, array))
