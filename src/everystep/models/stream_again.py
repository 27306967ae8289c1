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

MOST = 16  # shapes of static inputs that a stream keeps programs of


def begin_again(stream: Stream, static: dict[str, Any]) -> Stream:
    """A stream of the model at its beginning, with these static inputs, of as many rows: this one, or a new one where
    what it reads of them has other shapes, or an output that is held before the first step may follow from them.

    Raises:
        UnsupportedError: the model has other weights now. ShapeError, DtypeError: static does not fit.
    """
    stream._check_weights()
    given, plan = stream._fitted_static(static), stream._plan
    to, held = [value.array for value in plan.read], any(call.held for call in plan.calls)
    shapes, programs = tuple(array.shape for array in given.values()), stream._static_programs
    if given and to and (held or shapes not in programs or not _computed(programs[shapes], given, to)):
        new, program = _static_part(plan, given)  # of these shapes the first time
        known = [new[value].array for value in plan.read]
        if held or any(mine.shape != its.shape for mine, its in zip(to, known, strict=True)):
            stream = Stream(
                stream.model, stream.batch_size, static, plan.constants(lambda value: new[value].array.copy())
            )
            stream._static_programs[shapes] = program
            return stream
        if len(programs) == MOST:
            del programs[next(iter(programs))]
        programs[shapes] = program
        for mine, its in zip(to, known, strict=True):
            np.copyto(mine, its)
    stream._static = given
    stream._sources = np.arange(stream.batch_size) if given else np.zeros(stream.batch_size, np.intp)
    stream._fingerprint = None
    stream.reset()
    return stream


def _computed(program: Program, static: dict[str, Array], to: list[Array]) -> bool:
    """Writes what is read of static inputs; does nothing, and is False, where shapes are others than the program's."""
    x, out = ([*arrays] if len(arrays) > 1 else arrays[0] for arrays in (list(static.values()), to))
    with np.errstate(all="ignore"):
        return program.step(x, out) is not None


def _static_part(plan: Plan, static: dict[str, Array]) -> tuple[dict[Value | None, Value], Program]:
    """The constant calls of a plan for static inputs in the model's order, on arrays that stay.

    Returns:
        What each constant value is for these, and the calls as one: from such inputs to what the plan reads of them.
    """
    inputs = [Value(np.array(array, order="C"), constant=True) for array in static.values()]
    new = dict[Any, Any](zip(plan.static, inputs, strict=True)) | {None: None}
    bound: list[BoundCall] = []
    with np.errstate(all="ignore"):
        for call in plan.constant_calls:
            inputs_of, options, mask = (filled(new.__getitem__, one) for one in (call.inputs, call.options, call.mask))
            bound.append(bound_call(Call(call.operation, call.name, inputs_of, options, mask)))
            its = bound[-1][0]
            new |= zip([*call.outputs, *call.masks], [*its.outputs, *its.masks], strict=True)
    read = [new[value] for value in plan.read]
    return new, Program(needed_steps(bound, read), [value.array for value in inputs], [value.array for value in read])


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
