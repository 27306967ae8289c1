"""What one step of a stream is: the model's calls, those of models in it among them, on arrays that stay.

Each tensor of the graph becomes a `Value`. It is *constant* if it follows from static inputs alone, and is computed
once. Else it is *timed* if it has a time axis, of which a step sees the newest step; or it has none, as the last output
of a recurrent layer, and is computed anew at every step, as if the sequences ended there. B batch, T time steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

import numpy as np

from everystep.errors import UnsupportedError
from everystep.layers.activation import Activation
from everystep.layers.activations import ALONG_LAST_AXIS
from everystep.layers.base import Layer, State
from everystep.layers.bound import Bound, bound_mask, bound_step
from everystep.layers.dropout import Dropout
from everystep.layers.embedding import Embedding
from everystep.layers.operation import Operation
from everystep.layers.recurrent import Recurrent
from everystep.layers.structure import flatten, map_leaves, pack
from everystep.layers.tensor import Array, Tensor
from everystep.models.graph import Graph
from everystep.models.model import Model


@dataclass(eq=False)
class Value:
    """A tensor in a stream.

    Attributes:
        array: its numbers, of the newest step if it is timed; always the same array.
        constant, timed: see above.
        after_state: whether it follows from a state.
    """

    array: Array
    constant: bool = False
    timed: bool = False
    after_state: bool = False


@dataclass(eq=False)
class Call:
    """A call of an operation.

    Attributes:
        name: the operation's, with those of the models it is in: "encoder/lstm".
        inputs, options: its first argument, or all of an operation that is no layer, and the others by name; with a
            `Value` in the place of each tensor.
        mask: that comes with the inputs.
        verb: "step" if it has a time axis, or "run" on what has none.
        state: arrays that stay, of a step.
        first_state: what they are at the start of a sequence.
        outputs, masks: values, flat.
    """

    operation: Operation
    name: str
    inputs: Any
    options: dict[str, Any]
    mask: Any
    verb: str = "run"
    state: State = ()
    first_state: State = ()
    outputs: list[Value] = field(default_factory=list)
    masks: list[Value | None] = field(default_factory=list)

    @property
    def own_state(self) -> State:
        """The state for `Layer.run` and `step`; None where it carries nothing."""
        return self.state if flatten(self.state) else None

    @property
    def after_state(self) -> bool:
        """Whether what it returns follows from a state."""
        return bool(flatten(self.state)) or any(value.after_state for value in self.values)

    @property
    def values(self) -> list[Value]:
        """All that it reads."""
        return _values([self.inputs, self.options, self.mask])

    def run(self, read: Callable[[Value], Array], verb: str, state: State) -> tuple[list[Array], State]:
        """The outputs, flat, and the state after it; `read` gives the numbers of a value."""
        inputs, options = _filled(read, self.inputs), _filled(read, self.options)
        if not isinstance(self.operation, Layer):
            return [getattr(self.operation, verb)(*inputs)[0]], ()
        outputs, state = getattr(self.operation, verb)(inputs, state, **options)
        return flatten(outputs), state

    def run_masks(self, read: Callable[[Value], Array], count: int) -> list[Any]:
        """The mask of each output, of which there are `count`; None where there is none."""
        if not isinstance(self.operation, Layer) or not self.operation.passes_mask:
            return [None] * count
        masks = flatten(self.operation.compute_mask(_filled(read, self.inputs), _filled(read, self.mask)))
        return masks if len(masks) == count else [None] * count

    def state_names(self) -> list[str]:
        """One for each array of the state."""
        layer = self.operation
        if isinstance(layer, Recurrent):
            return [
                f"{cell.name}/{letter}" if layer.stacked else letter
                for cell in layer.cells
                for letter in cell.spec.states
            ]
        return [str(k) for k in range(len(flatten(self.state)))]


class Plan:
    """A model's graph, made ready to step.

    Args:
        model, B: what to stream, and how many sequences.
        inputs: a value for each input.
        known: what constant calls returned, from another plan of the same stream; None: compute them.

    Attributes:
        calls: all but the constant ones, in an order in which they may be made; those that can refuse what comes in
            before any that changes a state.
        steps: what to do at each step.
        outputs: of the model, flat.

    Raises:
        UnsupportedError: a layer cannot go one step at a time.
    """

    def __init__(self, model: Model, B: int, inputs: list[Value], known: list[Any] | None = None) -> None:
        self.B = B
        self.calls: list[Call] = []
        self.constants: list[Any] = []
        self._known: Iterator[Any] | None = None if known is None else iter(known)
        self._bound: list[tuple[Call, list[Bound], list[Bound]]] = []
        self.outputs, _ = self._graph(model.graph, inputs, [None] * len(inputs), "")
        self.steps = self._needed_steps()
        self.calls.sort(key=lambda call: call.after_state)

    def _graph(
        self, graph: Graph, inputs: list[Value], masks: list[Value | None], path: str
    ) -> tuple[list[Value], list[Value | None]]:
        """The values of a graph's outputs, and their masks; as `Graph.run`."""
        found = {id(tensor): value for tensor, value in zip(graph.inputs, inputs, strict=True)}
        masked = {id(tensor): mask for tensor, mask in zip(graph.inputs, masks, strict=True)}
        for node in graph.nodes:
            operation = node.operation
            if id(node.outputs[0]) in found:
                continue
            name = path + operation.name
            if isinstance(operation, Layer):
                call = operation.bind(node.args, node.kwargs)
                mask = map_leaves(partial(_mask_of, masked), call[operation.call_arguments[0]])
                call = {key: _looked_up(found, given) for key, given in call.items()}
                outputs, its_masks = self._layer(operation, name, call, mask)
            else:
                outputs, its_masks = self._call(Call(operation, name, _looked_up(found, node.args), {}, None))
            found |= {id(tensor): value for tensor, value in zip(node.outputs, outputs, strict=True)}
            masked |= {id(tensor): mask for tensor, mask in zip(node.outputs, its_masks, strict=True)}
        return [found[id(t)] for t in graph.outputs], [masked.get(id(t)) for t in graph.outputs]

    def _layer(self, layer: Layer, name: str, call: dict[str, Any], mask: Any) -> Any:
        """As `Layer.advance` and `Model.advance`."""
        inputs = call.pop(layer.call_arguments[0])
        if isinstance(layer, Model):
            came, given = flatten(mask), flatten(call.get("mask"))
            given = given if len(given) == len(came) else [None] * len(came)
            masks = [one if other is None else other for one, other in zip(came, given, strict=True)]
            return self._graph(layer.graph, flatten(inputs), masks, f"{name}/")
        if call.get("mask") is not None:
            mask = call["mask"]
        elif layer.takes_implicit_mask({layer.call_arguments[0]: inputs, **call}):
            call["mask"] = mask
        return self._call(Call(layer, name, inputs, call, mask))

    def _call(self, call: Call) -> tuple[list[Value], list[Value | None]]:
        values = call.values
        if all(value.constant for value in values):
            outputs, masks = self._constant(call)
            call.outputs = [Value(array, constant=True) for array in outputs]
            call.masks = [None if mask is None else Value(mask, constant=True) for mask in masks]
            return call.outputs, call.masks
        in_time: list[bool] | None = None
        if any(value.timed for value in values):
            _check_streamable(call)
            call.verb = "step"
            if isinstance(call.operation, Layer):
                first, given = call.operation.initial_state(self.B), call.options.get("initial_state")
                call.first_state = first if given is None else pack(first, [value.array for value in flatten(given)])
                call.state = map_leaves(lambda array: np.array(array, order="C"), call.first_state)
            in_time = _time_axes(call, self.B)
        self._bound.append((call, *_bound(call)))
        for results in (call.outputs, call.masks):
            for place, value in enumerate(results):
                if value is not None and value not in values:
                    value.timed = in_time is not None and in_time[place]
                    value.after_state = call.after_state
        self.calls.append(call)
        return call.outputs, call.masks

    def _needed_steps(self) -> list[Bound]:
        """What the states and the outputs need: of the masks that every layer hands on few are looked at."""
        needed, before, after = set(self.outputs), list[list[Bound]](), list[list[Bound]]()
        for call, for_outputs, for_masks in reversed(self._bound):
            parts: list[tuple[Sequence[Value | None], list[Bound], Any]] = [
                (call.masks, for_masks, call.mask),
                (call.outputs, for_outputs, call.options),
            ]
            for results, steps, reads in parts:
                if not needed.isdisjoint(results) or (results is call.outputs and call.own_state is not None):
                    needed.update(_values([call.inputs, reads]))
                    (after if call.after_state else before).append(steps)
        return [step for steps in [*reversed(before), *reversed(after)] for step in steps]

    def _constant(self, call: Call) -> tuple[list[Array], list[Any]]:
        if self._known is None:
            outputs, _ = call.run(newest, "run", None)
            found = outputs, call.run_masks(newest, len(outputs))
        else:
            found = next(self._known)
        self.constants.append(found)
        return found


def newest(value: Value) -> Array:
    return value.array


def _values(structure: Any) -> list[Value]:
    return [leaf for leaf in flatten(structure) if isinstance(leaf, Value)]


def _filled(read: Callable[[Value], Array], structure: Any) -> Any:
    """The structure with numbers in the place of each value."""
    return map_leaves(lambda leaf: read(leaf) if isinstance(leaf, Value) else leaf, structure)


def _mask_of(masked: dict[int, Value | None], tensor: Tensor) -> Value | None:
    return masked.get(id(tensor))


def _looked_up(found: dict[int, Value], structure: Any) -> Any:
    """The structure with what was found in the place of each tensor."""
    return map_leaves(lambda leaf: found[id(leaf)] if isinstance(leaf, Tensor) else leaf, structure)


# ---- What to do at each step ----


def _bound(call: Call) -> tuple[list[Bound], list[Bound]]:
    """Finds the arrays that a call writes to, and what writes its outputs and its masks: see `layers.bound`."""
    operation, reads = call.operation, {id(value.array): value for value in call.values}
    inputs, options = _filled(newest, call.inputs), _filled(newest, call.options)
    known = type(operation).__module__.startswith("everystep.layers.")  # not a user's class that extends one of ours
    named = {operation.call_arguments[0]: inputs, **options} if isinstance(operation, Layer) else inputs

    def values(arrays: list[Any]) -> list[Any]:
        return [None if array is None else reads.get(id(array)) or Value(array) for array in arrays]

    bound = bound_step(operation, named, call.state) if known else None
    if bound is None:
        outputs, _ = call.run(newest, call.verb, call.own_state)  # of any numbers, to know what comes
        call.outputs = [Value(np.array(array)) for array in outputs]
        steps: list[Bound] = [partial(_run_again, call)]
    else:
        call.outputs, steps = values(flatten(bound.outputs)), bound.calls
    masks = call.run_masks(newest, len(call.outputs))
    call.masks = values(masks)
    if all(mask is None or id(mask) in reads for mask in masks):
        return steps, []
    bound = bound_mask(operation, inputs, _filled(newest, call.mask)) if known else None
    if bound is None:
        return steps, [partial(_mask_again, call)]
    call.masks = [Value(bound.outputs)]
    return steps, bound.calls


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


# ---- What cannot be streamed ----


def _check_streamable(call: Call) -> None:
    """Raises UnsupportedError unless a call that reads a value with a time axis can go one step at a time."""
    operation = call.operation
    obstacle = operation.step_obstacle()
    if obstacle:
        _refuse(call, obstacle)
    initial = _values(call.options.get("initial_state"))
    if not all(value.constant for value in initial):
        _refuse(call, "its initial_state changes with every step, and with it all that it returned before")
    if not all(value.timed for value in call.values if value not in initial):
        _refuse(call, "it takes a streamed sequence together with one that is not streamed")
    alone = any(value.array.ndim == 1 for value in _values(call.inputs))
    along_last = isinstance(operation, Activation) and operation.activation in ALONG_LAST_AXIS
    if alone and isinstance(operation, Layer) and (along_last or not isinstance(operation, BY_NUMBER)):
        _refuse(call, "its input has no axis but time, and it goes along that. If it is no sequence, name it in static")


BY_NUMBER = (Activation, Dropout, Embedding)  # what takes each number by itself


def _time_axes(call: Call, B: int) -> list[bool]:
    """For each output, whether it has a time axis: where its shape is another for another T."""
    found = []
    for T in (2, 3):

        def stand_in(value: Value, T: int = T) -> Any:
            return Tensor((B, T, *value.array.shape[1:]), value.array.dtype.name, call.name)

        inputs = _filled(stand_in, call.inputs)
        outputs = call.operation.symbolic_outputs(*([inputs] if isinstance(call.operation, Layer) else inputs))
        found.append([tensor.shape for tensor in flatten(outputs)])
    in_time = []
    for a, b in zip(*found, strict=True):
        if a != b and (*a[:1], *a[2:]) != (*b[:1], *b[2:]):
            _refuse(call, "it moves the time axis")
        if a == b and not flatten(call.state):
            _refuse(call, "it looks at the whole sequence at once")
        in_time.append(a != b)
    return in_time


def _refuse(call: Call, reason: str) -> NoReturn:
    raise UnsupportedError(f"layer {call.name!r} cannot go one step at a time: {reason}")
