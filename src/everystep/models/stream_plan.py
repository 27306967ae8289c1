"""What one step of a stream is: the model's calls, those of models in it among them, on arrays that stay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from everystep.layers.base import Layer
from everystep.layers.bound import Bound, bound_mask, bound_step
from everystep.layers.structure import flatten, map_leaves, pack
from everystep.layers.tensor import Array, Tensor
from everystep.models.graph import Graph
from everystep.models.model import Model
from everystep.models.stream_call import Call, Value, filled, newest, values_in
from everystep.models.stream_check import check_streamable, time_axes


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
                given = operation.arguments(*node.args, **node.kwargs)
                outputs, its_masks = self._call(Call(operation, name, tuple(_looked_up(found, given)), {}, None))
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
            check_streamable(call)
            call.verb = "step"
            if isinstance(call.operation, Layer):
                first, given = call.operation.initial_state(self.B), call.options.get("initial_state")
                call.first_state = first if given is None else pack(first, [value.array for value in flatten(given)])
                call.state = map_leaves(lambda array: np.array(array, order="C"), call.first_state)
            in_time = time_axes(call, self.B)
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
                    needed.update(values_in([call.inputs, reads]))
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


def _mask_of(masked: dict[int, Value | None], tensor: Tensor) -> Value | None:
    return masked.get(id(tensor))


def _looked_up(found: dict[int, Value], structure: Any) -> Any:
    """The structure with what was found in the place of each tensor."""
    return map_leaves(lambda leaf: found[id(leaf)] if isinstance(leaf, Tensor) else leaf, structure)


# ---- What to do at each step ----


def _bound(call: Call) -> tuple[list[Bound], list[Bound]]:
    """Finds the arrays that a call writes to, and what writes its outputs and its masks: see `layers.bound`."""
    operation, reads = call.operation, {id(value.array): value for value in call.values}
    inputs, options = filled(newest, call.inputs), filled(newest, call.options)
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
    bound = bound_mask(operation, inputs, filled(newest, call.mask)) if known else None
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
