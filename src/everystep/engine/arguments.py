"""What forward and backward runs are told. The native call sees whether all arrays fit; here are the words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from everystep.cells import ACTIVATION_ALIASES, ACTIVATIONS, Cell
from everystep.engine.arrays import BOOL, Array, check
from everystep.engine.weights import CELL_CODES, Packed
from everystep.errors import DtypeError, OptionError, ShapeError

_ACTIVATION_CODES = {name: code for code, name in enumerate(ACTIVATIONS)}
_ACTIVATION_CODES |= {alias: _ACTIVATION_CODES[name] for alias, name in ACTIVATION_ALIASES.items()}


class Arguments(NamedTuple):
    """What `run` and `run_backward` hand on, in the order in which engine/bind/runs.cc takes it."""

    cell: int
    activation: int
    recurrent_activation: int
    B: int
    T: int
    I: int
    H: int
    x: Array
    start: tuple[Array, ...]
    mask: Array | None
    resets: Array | None
    reset: tuple[Array, ...]
    dropout: Array | None
    recurrent_dropout: Array | None
    backwards: bool

    def check(self, packed: Packed) -> None:
        """Raises where an array does not fit.

        Raises:
            ShapeError, DtypeError: the array by name, what it must be, and what came.
        """
        B, T, I, H, G, dtype = self.B, self.T, self.I, self.H, len(packed.cell.gates), packed.data.dtype
        check_states("states", packed.cell, self.start, (B, H), dtype)
        check("x", self.x, (B, T, I), dtype)
        given = {
            "mask": (self.mask, (B, T), BOOL),
            "resets": (self.resets, (B, T), BOOL),
            "dropout": (self.dropout, (G, B, I), dtype),
            "recurrent_dropout": (self.recurrent_dropout, (G, B, H), dtype),
        }
        for name, (array, shape, its_dtype) in given.items():
            if array is not None:
                check(name, array, shape, its_dtype)
        if self.reset is not self.start:
            check_states("reset_states", packed.cell, self.reset, (B, H), dtype)


def run_arguments(
    packed: Packed,
    x: Array,
    T: int,
    states: Sequence[Array],
    mask: Array | None,
    resets: Array | None,
    reset_states: Sequence[Array] | None,
    dropout: Array | None,
    recurrent_dropout: Array | None,
    backwards: bool,
    activation: str,
    recurrent_activation: str,
) -> Arguments:
    """The arguments of a run on x (B,T,I), or of a step on (B,1,I); unchecked, but for the activations."""
    start = as_tuple(states)
    return Arguments(
        CELL_CODES[packed.cell.name],
        activation_code("activation", activation),
        activation_code("recurrent_activation", recurrent_activation),
        x.shape[0],
        T,
        packed.inputs,
        packed.units,
        x,
        start,
        mask,
        resets,
        start if reset_states is None else as_tuple(reset_states),
        dropout,
        recurrent_dropout,
        backwards,
    )


def refused(packed: Packed, arguments: Arguments) -> NoReturn:
    """Says what it is that the native call does not take.

    Raises:
        ShapeError, DtypeError: as `Arguments.check`.
    """
    arguments.check(packed)
    raise unreadable()


def unreadable() -> DtypeError:
    return DtypeError("the engine cannot read one of these arrays as it lies in memory: pass a copy of each")


def as_tuple(states: Any) -> Any:
    """States as the native call takes them; what is no sequence stays, to be refused."""
    return tuple(states) if isinstance(states, (list, np.ndarray)) else states


def check_states(
    name: str, cell: Cell, states: Sequence[Array], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[Array, ...]:
    if states is None or len(states) != len(cell.states):
        came = "None" if states is None else len(states)
        raise ShapeError(f"{name} must be {len(cell.states)} arrays ({', '.join(cell.states)}); got {came}")
    return tuple(check(f"{name}[{k}]", state, shape, dtype) for k, state in enumerate(states))


def no_cell_state(argument: str, cell: Cell) -> OptionError:
    return OptionError(f"{argument}: a {cell.name} has no cell state; its only state is its output. Leave it out.")


def activation_code(argument: str, name: str) -> int:
    """The number of an activation in `enum class Activation` of engine/everystep.h."""
    code = _ACTIVATION_CODES.get(name) if isinstance(name, str) else None
    if code is None:
        raise OptionError(f"{argument} must be one of {', '.join(_ACTIVATION_CODES)}; got {name!r}")
    return code
