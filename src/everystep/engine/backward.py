"""The gradient of a run, by reverse accumulation through time; see `engine/sequence_backward.h`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from everystep import _engine
from everystep.cells import CELLS
from everystep.engine.arguments import no_cell_state
from everystep.engine.arrays import Array, check
from everystep.engine.forward import Record
from everystep.errors import ShapeError


class Gradients(NamedTuple):
    """What `run_backward` returns: the gradient of every float input, None for one that was not given."""

    x: Array
    states: tuple[Array, ...]
    kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    reset_states: tuple[Array, ...] | None
    dropout: Array | None
    recurrent_dropout: Array | None


def run_backward(
    record: Record,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array | None = None,
    *,
    d_h: Array | None = None,
    d_states: Sequence[Array | None] | None = None,
    d_cells: Array | None = None,
    d_gates: Array | None = None,
) -> Gradients:
    """The gradient of a recorded run, from the gradients of what it returned.

    Args:
        record: of `run(..., record=True)`.
        kernel, recurrent_kernel, bias: the weights that the run's `packed` was made of.
        d_h: (B,T,H); d_states: (B,H) each; d_cells: (B,T,H); d_gates: (B,T,G,H); None stands for zeros.

    Raises:
        ShapeError, DtypeError: an array does not fit the run. OptionError: `d_cells` of a cell that has one state.
    """
    arguments = record.arguments
    cell = list(CELLS.values())[arguments["cell"]]
    (B, T, I), H, G = arguments["x"].shape, record.h.shape[2], len(cell.gates)
    dtype = record.h.dtype
    weights = {"kernel": kernel, "recurrent_kernel": recurrent_kernel}
    for name, shape in cell.weight_shapes(I, H).items():
        if name in weights:
            weights[name] = check(name, weights[name], shape, dtype)
        elif bias is not None:
            bias = check(name, bias, shape, dtype)
    d_states = (None,) * len(cell.states) if d_states is None else tuple(d_states)
    if len(d_states) != len(cell.states):
        raise ShapeError(f"d_states must be {len(cell.states)} arrays ({', '.join(cell.states)}); got {len(d_states)}")
    if d_cells is not None and len(cell.states) == 1:
        raise no_cell_state("d_cells", cell)
    arriving = {"d_h": (d_h, (B, T, H)), "d_cells": (d_cells, (B, T, H)), "d_gates": (d_gates, (B, T, G, H))}
    arriving |= {f"d_states[{k}]": (d, (B, H)) for k, d in enumerate(d_states)}
    checked = {k: None if d is None else check(k, d, shape, dtype) for k, (d, shape) in arriving.items()}

    def like(value: Array | None) -> Array | None:
        return None if value is None else np.empty_like(value)

    found = Gradients(
        x=np.empty((B, T, I), dtype),
        states=tuple(np.empty((B, H), dtype) for _ in cell.states),
        kernel=np.empty_like(kernel),
        recurrent_kernel=np.empty_like(recurrent_kernel),
        bias=like(bias),
        reset_states=None if arguments["resets"] is None else tuple(np.empty((B, H), dtype) for _ in cell.states),
        dropout=like(arguments["dropout"]),
        recurrent_dropout=like(arguments["recurrent_dropout"]),
    )
    _engine.run_backward(
        **arguments,
        **weights,
        h=record.h,
        c=record.c,
        tape=record.tape,
        d_h=checked["d_h"],
        d_c=checked["d_cells"],
        d_gates=checked["d_gates"],
        d_last=tuple(checked[f"d_states[{k}]"] for k in range(len(cell.states))),
        d_x=found.x,
        d_start=found.states,
        d_kernel=found.kernel,
        d_recurrent_kernel=found.recurrent_kernel,
        d_bias=found.bias,
        d_reset=found.reset_states,
        d_dropout=found.dropout,
        d_recurrent_dropout=found.recurrent_dropout,
    )
    return found
