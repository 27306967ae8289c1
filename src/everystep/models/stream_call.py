"""The tensors and the calls of a model that is streamed.

A value is *constant* if it follows from static inputs alone, and is computed once. Else it is *timed* if it has a time
axis, of which a step sees the newest step; or it has none, as the last output of a recurrent layer, and is computed
anew at every step, as if the sequences ended there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from everystep.layers.base import Layer, State
from everystep.layers.operation import Operation
from everystep.layers.recurrent import Recurrent
from everystep.layers.structure import flatten, map_leaves
from everystep.layers.tensor import Array
from everystep.layers.watching import WATCHER
from everystep.models.stream_clock import Clock


@dataclass(eq=False)
class Value:
    """A tensor in a stream.

    Attributes:
        array: its numbers, of the newest step if it is timed; always the same array.
        constant, timed: see above.
        after_state: whether it follows from a state.
        clock: when a new step of it is there; None: at every step of the stream, or it is not timed.
    """

    array: Array
    constant: bool = False
    timed: bool = False
    after_state: bool = False
    clock: Clock | None = None


ARRIVED = "arrived"


class Held(NamedTuple):
    """A state: its name, now, in an array that stays, and as it is at the start of a sequence."""

    name: str
    now: Array
    first: Array


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
        clock: of the steps that it takes.
        own_clock: of those that it returns, where the layer has its own.
        held: what a stream must know beside the state: outputs that stay until there is a new step, and `arrived`.
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
    clock: Clock | None = None
    own_clock: Clock | None = None
    held: list[Held] = field(default_factory=list)
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
        return values_in([self.inputs, self.options, self.mask])

    def run(self, read: Callable[[Value], Array], verb: str, state: State) -> tuple[list[Array], State]:
        """The outputs, flat, and the state after it; `read` gives the numbers of a value."""
        inputs, options = filled(read, self.inputs), filled(read, self.options)
        if not isinstance(self.operation, Layer):
            if self.held and verb == "run" and not inputs[0].shape[1]:  # there is no newer step to take
                return [held.now for held in self.held], ()
            return [getattr(self.operation, verb)(*inputs)[0]], ()
        watcher = WATCHER.get()
        if watcher is None:
            outputs, state = getattr(self.operation, verb)(inputs, state, **options)
        else:
            made = partial(_made, getattr(self.operation, verb), inputs, state)
            outputs, state = watcher.call(self.operation, self.name, made, options)
        return flatten(outputs), state

    def run_masks(self, read: Callable[[Value], Array], count: int) -> list[Any]:
        """The mask of each output, of which there are `count`; None where there is none."""
        if not isinstance(self.operation, Layer) or not self.operation.passes_mask:
            return [None] * count
        masks = flatten(self.operation.compute_mask(filled(read, self.inputs), filled(read, self.mask)))
        return masks if len(masks) == count else [None] * count

    def held_after(self, outputs: list[Array]) -> list[tuple[Array, Array]]:
        """What is held, each array with what it is after a run that returned these outputs."""
        found = []
        for held in self.held:
            if held.name == ARRIVED:
                output = outputs[0]
                new = held.now | bool(output.shape[1])
            else:
                place = next(k for k, value in enumerate(self.outputs) if value.array is held.now)
                output, timed = outputs[place], self.outputs[place].timed
                new = output if not timed else output[:, -1] if output.shape[1] else held.now
            found.append((held.now, np.asarray(new)))
        return found

    def all_held(self) -> list[Held]:
        """The state's arrays and what is held beside them."""
        own = zip(
            self.state_names() if self.own_state is not None else [],
            flatten(self.state),
            flatten(self.first_state),
            strict=True,
        )
        return [*(Held(*one) for one in own), *self.held]

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


def newest(value: Value) -> Array:
    """What its array holds now."""
    return value.array


def values_in(structure: Any) -> list[Value]:
    """The values among the leaves."""
    return [leaf for leaf in flatten(structure) if isinstance(leaf, Value)]


def filled(read: Callable[[Value], Array], structure: Any) -> Any:
    """The structure with numbers in the place of each value."""
    return map_leaves(lambda leaf: read(leaf) if isinstance(leaf, Value) else leaf, structure)


def _made(run: Callable[..., Any], inputs: Any, state: State, options: dict[str, Any]) -> Any:
    return run(inputs, state, **options)
