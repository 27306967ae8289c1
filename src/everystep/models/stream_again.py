"""A stream that is used again: opened once, it begins again on other static inputs, or on rows of another stream.

To open one, a model's graph is gone through and every step bound to its arrays, which takes as long as many steps. Here
only the numbers in those arrays change. Nothing but what is constant depends on static inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.layers.tensor import Array
from everystep.models.stream import Stream


def begin_again(stream: Stream, static: dict[str, Any]) -> Stream:
    """A stream of the model at its beginning, with these static inputs, of as many rows: this one, or a new one where
    what it reads of them has other shapes, or an output that is held before the first step may follow from them.

    Raises:
        UnsupportedError: the model has other weights now. ShapeError, DtypeError: static does not fit.
    """
    stream._check_weights()
    given = stream._fitted_static(static)
    plan = stream._plan
    known = plan.recomputed(given)
    fits = all(value.array.shape == known[value].shape for value in plan.read)
    if not fits or (given and any(call.held for call in plan.calls)):
        return Stream(stream.model, stream.batch_size, static, plan.constants(known.__getitem__))
    for value in plan.read:
        np.copyto(value.array, known[value])
    stream._static = given
    stream._sources = np.arange(stream.batch_size) if given else np.zeros(stream.batch_size, np.intp)
    stream._fingerprint = None
    stream.reset()
    return stream


def go_on_from(stream: Stream, other: Stream, rows: Array) -> bool:
    """Makes a stream what `other.fork(rows)` is, if what it reads of static inputs has the shapes for it.

    Args:
        stream: of the same model, streamed and static inputs as the other, and a row for each of `rows`.
    """
    here, there = stream._plan.read, other._plan.read
    if any(a.array.shape[1:] != b.array.shape[1:] for a, b in zip(here, there, strict=True)):
        return False
    stream._check_weights()
    for mine, its in zip(here, there, strict=True):
        np.take(its.array, rows, axis=0, out=mine.array)
    for state, its_state in zip(stream._states.values(), other._states.values(), strict=True):
        np.take(its_state.now, rows, axis=0, out=state.now)
    stream._static = {name: array[rows] for name, array in other._static.items()}
    stream._sources, stream.steps, stream._fingerprint = other._sources[rows], other.steps, None
    return True
