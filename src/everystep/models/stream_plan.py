"""What one step of a stream is: the model's calls, those of models in it among them, on arrays that stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from everystep.errors import ShapeError
from everystep.layers.base import Layer
from everystep.layers.bound import Bound, bound_mask, bound_step
from everystep.layers.structure import flatten, map_leaves, pack
from everystep.layers.tensor import Array, Tensor
from everystep.models.graph import Graph
from everystep.models.input_cast import InputCast
from everystep.models.model import Model
from everystep.models.stream_call import ARRIVED, Call, Held, Value, filled, newest, values_in
from everystep.models.stream_check import check_streamable, time_axes
from everystep.models.stream_clock import Clock, absent, key_after, note_arrival, only_fresh, show
from everystep.models.tensor_masks import TensorMasks

Constants = list[tuple[list[Array], list[Any]]]  # of each constant call: its outputs, and their masks


class Plan:
    """A model's graph, made ready to step.

    Args:
        model, B: what to stream, and how many sequences.
        inputs: a value for each input.
        known: what constant calls returned, as `Constants` has it, from another plan of the model; None: compute them.

    Attributes:
        calls: all but the constant ones, in an order in which they may be made; those that can refuse what comes in
            before any that changes a state.
        steps: what to do at each step.
        outputs: of the model, flat.
        static: the inputs that are constant.
        constant_calls: in their order.
        read: what is constant and is read by steps, or returned.
        shown: their arrays, with NaN where a row has no step of them yet.

    Raises:
        UnsupportedError: a layer cannot go one step at a time.
    """

    def __init__(self, model: Model, B: int, inputs: list[Value], known: Constants | None = None) -> None:
        self.B = B
        self.calls: list[Call] = []
        self.constant_calls: list[Call] = []
        self._known: Iterator[Any] | None = None if known is None else iter(known)
        self._bound: list[BoundCall] = []
        self.static = [value for value in inputs if value.constant]
        self.outputs, _ = self._graph(model.graph, inputs, [None] * len(inputs), "")
        self.steps = needed_steps(self._bound, self.outputs)
        reads = [value for call in self.calls for value in call.values if value.constant]
        self.read = list(dict.fromkeys([*reads, *(value for value in self.outputs if value.constant)]))
        self.shown = [self._shown(value) for value in self.outputs]
        self.calls.sort(key=lambda call: call.after_state)

    def _graph(
        self, graph: Graph, inputs: list[Value], masks: list[Value | None], path: str
    ) -> tuple[list[Value], list[Value | None]]:
        """The values of a graph's outputs, and their masks; as `Graph.run`."""
        found = {id(tensor): value for tensor, value in zip(graph.inputs, inputs, strict=True)}
        masked = TensorMasks(graph.inputs, masks)
        for node in graph.nodes:
            operation = node.operation.in_call(node)
            if id(node.outputs[0]) in found:
                continue
            name = path + operation.name
            if isinstance(operation, Layer):
                call = operation.bind(node.args, node.kwargs)
                mask = map_leaves(masked.of, call[operation.call_arguments[0]])
                own = {f"{key}_mask": masked.of(call.get(key)) for key in operation.mask_arguments}
                call = {key: _looked_up(found, given) for key, given in call.items()}
                call = own | {key: given for key, given in call.items() if given is not None}
                outputs, its_masks = self._layer(operation, name, call, mask)
            else:
                given = operation.arguments(*node.args, **node.kwargs)
                outputs, its_masks = self._call(Call(operation, name, tuple(_looked_up(found, given)), {}, None))
            masked.after(node, found[id(node.inputs[0])].array, outputs[0].array)
            found |= {id(tensor): value for tensor, value in zip(node.outputs, outputs, strict=True)}
            for tensor, its in zip(node.outputs, its_masks, strict=True):
                masked.put(tensor, its)
        return [found[id(t)] for t in graph.outputs], [masked.of(t) for t in graph.outputs]

    def _layer(self, layer: Layer, name: str, call: dict[str, Any], mask: Any) -> Any:
        """As `Layer.advance` and `Model.advance`."""
        inputs = call.pop(layer.call_arguments[0])
        if isinstance(layer, Model):
            came, given = flatten(mask), flatten(call.get("mask"))
            given = given if len(given) == len(came) else [None] * len(came)
            masks = [one if other is None else other for one, other in zip(came, given, strict=True)]
            values = [self._cast(*each, layer.name) for each in zip(flatten(inputs), layer.graph.inputs, strict=True)]
            return self._graph(layer.graph, values, masks, f"{name}/")
        if call.get("mask") is not None:
            mask = call["mask"]
        elif layer.takes_implicit_mask({layer.call_arguments[0]: inputs, **call}):
            call["mask"] = mask
        return self._call(Call(layer, name, inputs, call, mask))

    def _cast(self, value: Value, tensor: Tensor, model: str) -> Value:
        if str(value.array.dtype) == tensor.dtype:
            return value
        return self._call(Call(InputCast(model, tensor), f"{model}/{tensor.name}", value, {}, None))[0][0]

    def _call(self, call: Call) -> tuple[list[Value], list[Value | None]]:
        values = call.values
        if all(value.constant for value in values):
            outputs, masks = self._constant(call)
            call.outputs = [Value(array, constant=True) for array in outputs]
            call.masks = [None if mask is None else Value(mask, constant=True) for mask in masks]
            self.constant_calls.append(call)
            return call.outputs, call.masks
        in_time: list[bool] | None = None
        if any(value.timed for value in values):
            check_streamable(call)
            call.verb = "step"
            if isinstance(call.operation, Layer):
                first, given = call.operation.initial_state(self.B), call.options.get("initial_state")
                call.first_state = first if given is None else pack(first, [value.array for value in flatten(given)])
                call.state = map_leaves(lambda array: np.array(array, order="C"), call.first_state)
            in_time = time_axes(call, self.B)
            self._set_clocks(call)
        _, steps, mask_steps = bound_call(call)
        if in_time is not None and (call.own_state is not None or call.operation.takes_newest):
            steps = _in_time(call, steps, in_time)
        self._bound.append((call, steps, mask_steps))
        for results in (call.outputs, call.masks):
            for place, value in enumerate(results):
                if value is not None and value not in values:
                    value.timed = in_time is not None and in_time[place]
                    value.after_state = call.after_state
                    value.clock = (call.own_clock or call.clock) if value.timed else None
        self.calls.append(call)
        return call.outputs, call.masks

    def _set_clocks(self, call: Call) -> None:
        call.clock = next((value.clock for value in call.values if value.timed), None)
        if isinstance(call.operation, Layer) and call.operation.own_clock:
            fresh, arrived = flatten(call.state)[-1], np.zeros(self.B, bool)
            call.own_clock = Clock(key_after(call.operation, call.clock), fresh, arrived)
            call.held.append(Held(ARRIVED, arrived, arrived.copy()))

    def _shown(self, value: Value) -> Array:
        if value.clock is None:
            return value.array
        shown = np.full_like(value.array, absent(value.array))
        self.steps.append(partial(show, value.array, value.clock, shown))
        return shown

    def _constant(self, call: Call) -> tuple[list[Array], list[Any]]:
        if self._known is not None:
            found: tuple[list[Array], list[Any]] = next(self._known)
            return found
        outputs, _ = call.run(newest, "run", None)
        return outputs, call.run_masks(newest, len(outputs))

    def run_constant(self) -> None:
        """Makes the constant calls once more, for who watches."""
        for call in self.constant_calls:
            call.run(newest, "run", None)

    def constants(self, read: Callable[[Value], Array]) -> Constants:
        """What the constant calls returned, for another plan; `read` gives the numbers of a value."""
        return [
            ([read(value) for value in call.outputs], [None if mask is None else read(mask) for mask in call.masks])
            for call in self.constant_calls
        ]


def _looked_up(found: dict[int, Value], structure: Any) -> Any:
    """The structure with what was found in the place of each tensor."""
    return map_leaves(lambda leaf: found[id(leaf)] if isinstance(leaf, Tensor) else leaf, structure)


# ---- What to do at each step ----

BoundCall = tuple[Call, list[Bound], list[Bound]]  # with what writes its outputs, and its masks


def needed_steps(calls: list[BoundCall], outputs: Sequence[Value]) -> list[Bound]:
    """What the states and the outputs need: of the masks that every layer hands on few are looked at."""
    needed, before, after = set(outputs), list[list[Bound]](), list[list[Bound]]()
    for call, for_outputs, for_masks in reversed(calls):
        parts: list[tuple[Sequence[Value | None], list[Bound], Any]] = [
            (call.masks, for_masks, call.mask),
            (call.outputs, for_outputs, call.options),
        ]
        for results, steps, reads in parts:
            if not needed.isdisjoint(results) or (results is call.outputs and call.own_state is not None):
                needed.update(values_in([call.inputs, reads]))
                (after if call.after_state else before).append(steps)
    return [step for steps in [*reversed(before), *reversed(after)] for step in steps]


def bound_call(call: Call) -> BoundCall:
    """Finds the arrays that a call writes to, and what writes its outputs and its masks: see `layers.bound`.

    Those of a constant call hold the right numbers already.
    """
    constant = all(value.constant for value in call.values)
    operation, reads = call.operation, {id(value.array): value for value in call.values}
    inputs, options = filled(newest, call.inputs), filled(newest, call.options)
    known = type(operation).__module__.startswith("everystep.layers.")  # not a user's class that extends one of ours
    named = {operation.call_arguments[0]: inputs, **options} if isinstance(operation, Layer) else inputs

    def values(arrays: list[Any]) -> list[Any]:
        return [None if array is None else reads.get(id(array)) or Value(array, constant) for array in arrays]

    bound = bound_step(operation, named, call.state) if known else None
    if bound is None:
        outputs, _ = call.run(newest, call.verb, call.own_state)  # of any numbers, to know what comes
        call.outputs = [Value(np.array(array), constant) for array in outputs]
        steps: list[Bound] = [partial(_run_again, call)]
    else:
        call.outputs, steps = values(flatten(bound.outputs)), bound.calls
        _made_at_once(steps, constant)
    masks = call.run_masks(newest, len(call.outputs))
    call.masks = values(masks)
    if all(mask is None or id(mask) in reads for mask in masks):
        return call, steps, []
    bound = bound_mask(operation, inputs, filled(newest, call.mask)) if known else None
    if bound is None:
        return call, steps, [partial(_mask_again, call)]
    call.masks = [Value(bound.outputs, constant)]
    _made_at_once(bound.calls, constant)
    return call, steps, bound.calls


def _made_at_once(steps: list[Bound], wanted: bool) -> None:
    for step in steps if wanted else []:
        step()


def _in_time(call: Call, steps: list[Bound], in_time: list[bool]) -> list[Bound]:
    """The steps of a call that keeps something, so that they change only the rows that have a new step."""
    own, states = call.own_clock, flatten(call.state)
    if call.clock is not None:
        if call.operation.takes_newest:  # what it returns is a part of what it takes, and is to stay
            of = [value.array for value in call.outputs]
            call.outputs = [Value(np.array(array)) for array in of]
            steps = [*steps, *(partial(np.copyto, v.array, array) for v, array in zip(call.outputs, of, strict=True))]
        others = {id(array): None for array in states}
        first = _of_nothing(call, in_time)
        for place, value in enumerate(call.outputs):
            if id(value.array) not in others:
                np.copyto(value.array, first[place])
                call.held.append(Held(f"output_{place}", value.array, first[place]))
        kept = [*(states[:-1] if own is not None else states), *(h.now for h in call.held if h.name != ARRIVED)]
        steps = [only_fresh(steps, call.clock, kept, own)]
    return steps if own is None else [*steps, partial(note_arrival, own)]


def _of_nothing(call: Call, in_time: list[bool]) -> list[Array]:
    """What it returns before the first step: as of sequences without any, and NaN for the step that is not there."""

    def empty(value: Value) -> Array:
        return (
            np.empty((len(value.array), 0, *value.array.shape[1:]), value.array.dtype) if value.timed else value.array
        )

    try:
        outputs, _ = call.run(empty, "run", None)
    except ShapeError:  # it takes no empty sequence
        outputs = [np.empty(0)] * len(call.outputs)
    found = []
    for value, output, timed in zip(call.outputs, outputs, in_time, strict=True):
        fits = not timed and output.shape == value.array.shape
        found.append(np.array(output) if fits else np.full_like(value.array, absent(value.array)))
    return found


def _run_again(call: Call) -> None:
    outputs, state = call.run(newest, call.verb, call.own_state)
    for value, array in zip(call.outputs, outputs, strict=True):
        np.copyto(value.array, array)
    for old, new in zip(flatten(call.state), flatten(state) if call.own_state is not None else [], strict=True):
        np.copyto(old, new)


def _mask_again(call: Call) -> None:
    reads = call.values
    for value, mask in zip(call.masks, call.run_masks(newest, len(call.outputs)), strict=True):
        if value is not None and value not in reads:
            np.copyto(value.array, mask)
