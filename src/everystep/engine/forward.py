"""Runs and steps of a cell. The equations are at the top of `engine/cells/*.h`, the contract in `engine/everystep.h`.

B batch, T time steps, I input features, H units, G gates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from everystep import _engine
from everystep.cells import Cell
from everystep.engine.arguments import Arguments, check_states, no_cell_state, refused, run_arguments
from everystep.engine.arrays import BOOL, Array, check, check_axes, empty_aligned, writeable
from everystep.engine.weights import Packed
from everystep.errors import OptionError


class Outputs(NamedTuple):
    """What a run returns: arrays here; a caller that runs inside a framework may hold that one's tensors in it.

    Attributes:
        h: the hidden state: (B,T,H) in processing order with `sequences`, else the last one, (B,H).
        states: the last states, (B,H) each, in the order of `Cell.states`.
        cells: the cell state at every step (B,T,H), with `cells`; else None.
        gates: every gate after its activation (B,T,G,H), 0 on masked steps, with `gates`; else None.
        record: what `run_backward` needs of this run, with `record`; else None.
    """

    h: Array
    states: tuple[Array, ...]
    cells: Array | None
    gates: Array | None
    record: Record | None = None


class Step(NamedTuple):
    """What `step` returns: the states after the step, (B,H) each, the first being the output; the gates (B,G,H)."""

    states: tuple[Array, ...]
    gates: Array | None


class Record(NamedTuple):
    """A run as it was called, and what its gradient reads: h (B,T,H), c (B,T,H) and the tape (B,T,taped,H)."""

    cell: Cell
    arguments: Arguments
    h: Array
    c: Array | None
    tape: Array


def run(
    packed: Packed,
    x: Array,
    states: Sequence[Array],
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    reset_states: Sequence[Array] | None = None,
    dropout: Array | None = None,
    recurrent_dropout: Array | None = None,
    backwards: bool = False,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    sequences: bool = True,
    cells: bool = False,
    gates: bool = False,
    record: bool = False,
) -> Outputs:
    """Runs whole sequences.

    Args:
        packed: the weights.
        x: (B,T,I), of the weights' dtype, as are all floats here.
        states: before the first step, (B,H) each, in the order of `Cell.states`.
        mask: (B,T) bool, aligned with x; False: this step carries the state.
        resets: (B,T) bool, aligned with x; True: this row takes `reset_states` before this step, masked or not.
        reset_states: (B,H) each; None stands for `states`.
        dropout: (G,B,I), a factor of x for each gate.
        recurrent_dropout: (G,B,H), a factor of h for each gate.
        backwards: take the steps from the last to the first; sequences come in the order in which they are computed.
        activation, recurrent_activation: names from `everystep.cells.ACTIVATIONS`.
        sequences, cells, gates, record: what to return, see `Outputs`.

    Raises:
        ShapeError, DtypeError: an array does not fit. OptionError: an unknown activation, or `cells` of a cell
            that has one state.
    """
    call, outputs = _prepare(
        packed, x, states, mask, resets, reset_states, dropout, recurrent_dropout, backwards, activation,
        recurrent_activation, sequences, cells, gates, record,
    )  # fmt: skip
    if not _engine.run(call):
        refused(packed, call[0])
    return outputs


def run_together(calls: Sequence[dict[str, Any]]) -> list[Outputs]:
    """Several runs that do not wait for each other, such as the two directions of a bidirectional layer.

    Args:
        calls: the arguments of `run` for each, by name.

    Returns:
        What `run` returns for each, to the bit.

    Raises:
        ShapeError, DtypeError, OptionError: as `run`. TypeError: the arguments are not those of `run`.
    """
    for asked in calls:
        _check_names(asked)
    prepared = [prepared_run(call) for call in calls]
    same = len({call["packed"].data.dtype for call in calls}) == 1
    for group in [prepared] if same else [[one] for one in prepared]:
        if not _engine.run_together([call for call, _ in group]):
            for asked, (call, _) in zip(calls, prepared, strict=True):
                call[0].check(asked["packed"])
            refused(calls[0]["packed"], prepared[0][0][0])
    return [outputs for _, outputs in prepared]


def step(
    packed: Packed,
    x_t: Array,
    states: Sequence[Array],
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    reset_states: Sequence[Array] | None = None,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    gates: bool = False,
    out: Sequence[Array] | None = None,
) -> Step:
    """One time step: the same bits as that step of `run`.

    Args:
        packed, activation, recurrent_activation: as in `run`.
        x_t: (B,I).
        states: (B,H) each.
        mask: (B) bool; False: this row carries its state.
        resets: (B) bool; True: this row takes `reset_states` (None: `states`) before the step.
        gates: return them too.
        out: arrays (B,H) that take the new states; they may be those in `states`.

    Raises:
        ShapeError, DtypeError, OptionError: as `run`.
    """
    check_axes("x_t", x_t, f"(B,I), here (B,{packed.inputs}), without a time axis")
    B, H, dtype = x_t.shape[0], packed.units, packed.data.dtype
    x_t = check("x_t", x_t, (B, packed.inputs), dtype)
    per_step = {}
    for name, flags in (("mask", mask), ("resets", resets)):
        per_step[name] = None if flags is None else check(name, flags, (B,), BOOL)[:, None]
    arguments = run_arguments(
        packed, x_t[:, None], 1, states, **per_step, reset_states=reset_states, dropout=None, recurrent_dropout=None,
        backwards=False, activation=activation, recurrent_activation=recurrent_activation,
    )  # fmt: skip
    if out is None:
        last = tuple([np.empty((B, H), dtype) for _ in packed.cell.states])
    else:
        given = check_states("out", packed.cell, out, (B, H), dtype)
        last = tuple(writeable(f"out[{k}]", new) for k, new in enumerate(given))
        if any(np.may_share_memory(new, other) for k, new in enumerate(last) for other in last[:k]):
            raise OptionError("out must be arrays of their own for each state; two of them share memory")
    g = np.empty((B, 1, len(packed.cell.gates), H), dtype) if gates else None
    if not _engine.run((arguments, packed.data, None, None, g, None, last)):
        refused(packed, arguments)
    return Step(last, None if g is None else g[:, 0])


def _check_names(call: dict[str, Any]) -> None:
    """Raises TypeError, as a call of `run` does, unless these are the names of its arguments."""
    needed = run.__code__.co_varnames[: run.__code__.co_argcount]
    for name in (*call, *needed):
        if name not in call:
            raise TypeError(f"run_together: a call lacks {name!r}, an argument of run")
        if name not in needed and name not in (run.__kwdefaults__ or {}):
            raise TypeError(f"run_together: {name!r} is no argument of run")


def prepared_run(call: dict[str, Any]) -> tuple[tuple[Any, ...], Outputs]:
    """The native call of a run, of the arguments of `run` by name, and the outputs that it will have written."""
    return _prepare(**{**(run.__kwdefaults__ or {}), **call})


def _prepare(
    packed: Packed,
    x: Array,
    states: Sequence[Array],
    mask: Array | None,
    resets: Array | None,
    reset_states: Sequence[Array] | None,
    dropout: Array | None,
    recurrent_dropout: Array | None,
    backwards: bool,
    activation: str,
    recurrent_activation: str,
    sequences: bool,
    cells: bool,
    gates: bool,
    record: bool,
) -> tuple[tuple[Any, ...], Outputs]:
    """The native call of a run, its arguments in their order, and the outputs that it will have written."""
    if not isinstance(x, np.ndarray) or x.ndim != 3:
        check_axes("x", x, f"(B,T,I), here (B,T,{packed.inputs})")
    (B, T, _), cell, H, dtype = x.shape, packed.cell, packed.units, packed.data.dtype
    arguments = run_arguments(
        packed, x, T, states, mask, resets, reset_states, dropout, recurrent_dropout, backwards, activation,
        recurrent_activation,
    )  # fmt: skip
    two = len(cell.states) > 1
    if cells and not two:
        raise no_cell_state("cells", cell)
    empty = np.empty
    last = (empty((B, H), dtype), empty((B, H), dtype)) if two else (empty((B, H), dtype),)
    h = empty((B, T, H), dtype) if sequences or record else None
    c = empty((B, T, H), dtype) if cells or (record and two) else None
    g = empty((B, T, len(cell.gates), H), dtype) if gates else None
    tape = empty_aligned((B, T, cell.taped, H), dtype) if record else None
    kept = Record(cell, arguments, h, c, tape) if h is not None and tape is not None else None
    outputs = Outputs(h if sequences and h is not None else last[0], last, c if cells else None, g, kept)
    return (arguments, packed.data, h, c, g, tape, last), outputs
