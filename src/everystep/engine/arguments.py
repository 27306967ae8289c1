"""What forward and backward runs are told, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from everystep.cells import ACTIVATION_ALIASES, ACTIVATIONS, Cell
from everystep.engine.arrays import BOOL, Array, check
from everystep.engine.weights import CELL_CODES, Packed
from everystep.errors import OptionError, ShapeError

_ACTIVATION_CODES = {name: code for code, name in enumerate(ACTIVATIONS)}
_ACTIVATION_CODES |= {alias: _ACTIVATION_CODES[name] for alias, name in ACTIVATION_ALIASES.items()}


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
    activation: str,
    recurrent_activation: str,
) -> dict[str, Any]:
    """What `run` and `run_backward` hand on, checked, in the order in which the native call takes it."""
    B, G, dtype = x.shape[0], len(packed.cell.gates), packed.data.dtype
    start = check_states("states", packed, states, B)
    return {
        "cell": CELL_CODES[packed.cell.name],
        "activation": activation_code("activation", activation),
        "recurrent_activation": activation_code("recurrent_activation", recurrent_activation),
        "x": check("x", x, (B, T, packed.inputs), dtype),
        "start": start,
        "mask": None if mask is None else check("mask", mask, (B, T), BOOL),
        "resets": None if resets is None else check("resets", resets, (B, T), BOOL),
        "reset": start if reset_states is None else check_states("reset_states", packed, reset_states, B),
        "dropout": None if dropout is None else check("dropout", dropout, (G, B, packed.inputs), dtype),
        "recurrent_dropout": None
        if recurrent_dropout is None
        else check("recurrent_dropout", recurrent_dropout, (G, B, packed.units), dtype),
    }


def check_states(name: str, packed: Packed, states: Sequence[Array], B: int) -> tuple[Array, ...]:
    wanted = packed.cell.states
    if states is None or len(states) != len(wanted):
        came = "None" if states is None else len(states)
        raise ShapeError(f"{name} must be {len(wanted)} arrays ({', '.join(wanted)}); got {came}")
    shape, dtype = (B, packed.units), packed.data.dtype
    return tuple(check(f"{name}[{k}]", state, shape, dtype) for k, state in enumerate(states))


def no_cell_state(argument: str, cell: Cell) -> OptionError:
    return OptionError(f"{argument}: a {cell.name} has no cell state; its only state is its output. Leave it out.")


def activation_code(argument: str, name: str) -> int:
    """The number of an activation in `enum class Activation` of engine/everystep.h."""
    code = _ACTIVATION_CODES.get(name) if isinstance(name, str) else None
    if code is None:
        raise OptionError(f"{argument} must be one of {', '.join(_ACTIVATION_CODES)}; got {name!r}")
    return code
