"""A stream that is used again: opened once, it begins again on other static inputs, or on rows of another stream.

To open one, a model's graph is gone through and every step bound to its arrays, which takes as long as many steps. Here
only the numbers in those arrays change. Nothing but what is constant depends on static inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.layers.bound import Program
from everystep.layers.tensor import Array
from everystep.models.stream import Stream
from everystep.models.stream_call import Call, Value, filled
from everystep.models.stream_plan import BoundCall, Plan, bound_call, needed_steps


def begin_again(stream: Stream, static: dict[str, Any]) -> Stream:
    """A stream of the model at its beginning, with these static inputs, of as many rows: this one, or a new one where
    what it reads of them has other shapes, or an output that is held before the first step may follow from them.

    Raises:
        UnsupportedError: the model has other weights now. ShapeError, DtypeError: static does not fit.
    """
    stream._check_weights()
    given = stream._fitted_static(static)
    if given and not _recomputed(stream, list(given.values())):
        return Stream(stream.model, stream.batch_size, static)
    stream._static = given
    stream._sources = np.arange(stream.batch_size) if given else np.zeros(stream.batch_size, np.intp)
    stream._fingerprint = None
    stream.reset()
    return stream


def _recomputed(stream: Stream, static: list[Array]) -> bool:
    """Whether what the steps read of static inputs has the shapes of before; then it is of these."""
    plan = stream._plan
    if any(call.held for call in plan.calls):
        return False
    if not plan.read:
        return True
    x, out = ([*arrays] if len(arrays) > 1 else arrays[0] for arrays in (static, [v.array for v in plan.read]))
    with np.errstate(all="ignore"):
        program = stream._static_program
        if program is None or program.step(x, out) is None:  # the first time, or of other shapes
            program = stream._static_program = static_program(plan, static)
            return program.step(x, out) is not None
    return True


def static_program(plan: Plan, static: list[Array]) -> Program:
    """The constant calls of a plan as one, from static inputs of these shapes to what the plan reads of them."""
    inputs = [Value(np.array(array, order="C"), constant=True) for array in static]
    mine = dict[Value | None, Any](zip(plan.static, inputs, strict=True)) | {None: None}
    bound: list[BoundCall] = []
    for call in plan.constant_calls:
        parts = (filled(mine.__getitem__, part) for part in (call.inputs, call.options, call.mask))
        again = Call(call.operation, call.name, *parts)
        bound.append(bound_call(again))
        for step in needed_steps(bound[-1:], [*again.outputs, *filter(None, again.masks)]):
            step()  # as others may have to run to know what they return
        mine |= zip([*call.outputs, *call.masks], [*again.outputs, *again.masks], strict=True)
    read = [mine[value] for value in plan.read]
    return Program(needed_steps(bound, read), [value.array for value in inputs], [value.array for value in read])


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
