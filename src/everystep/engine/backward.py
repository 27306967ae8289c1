"""The gradient of a run, by reverse accumulation through time; see `engine/sequence_backward.h`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from everystep import _engine
from everystep.engine.arguments import as_tuple, no_cell_state, unreadable
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
    cell, arguments, h, c, tape = record
    B, T, I, H, dtype = arguments.B, arguments.T, arguments.I, arguments.H, h.dtype
    d_last = (None,) * len(cell.states) if d_states is None else as_tuple(d_states)
    if d_cells is not None and len(cell.states) == 1:
        raise no_cell_state("d_cells", cell)
    empty = np.empty

    def states() -> tuple[Array, ...]:
        return tuple([empty((B, H), dtype) for _ in cell.states])

    columns = len(cell.gates) * H
    found = Gradients(
        empty((B, T, I), dtype),
        states(),
        empty((I, columns), dtype),
        empty((H, columns), dtype),
        None if bias is None else np.empty_like(bias),
        None if arguments.resets is None else states(),
        None if arguments.dropout is None else np.empty_like(arguments.dropout),
        None if arguments.recurrent_dropout is None else np.empty_like(arguments.recurrent_dropout),
    )
    arriving = (d_h, d_cells, d_gates, d_last)
    if not _engine.run_backward((arguments, kernel, recurrent_kernel, bias, h, c, tape, *arriving, *found)):
        _refused(record, kernel, recurrent_kernel, bias, *arriving)
    return found


def _refused(
    record: Record,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    d_h: Any,
    d_cells: Any,
    d_gates: Any,
    d_states: Any,
) -> NoReturn:
    """Says what it is that the native call does not take."""
    cell, (_, _, _, B, T, I, H, *_), dtype = record.cell, record.arguments, record.h.dtype
    for array, (name, shape) in zip((kernel, recurrent_kernel, bias), cell.weight_shapes(I, H).items(), strict=True):
        if array is not None or name != "bias":
            check(name, array, shape, dtype)
    if len(d_states) != len(cell.states):
        raise ShapeError(f"d_states must be {len(cell.states)} arrays ({', '.join(cell.states)}); got {len(d_states)}")
    arriving: list[tuple[str, Any, tuple[int, ...]]] = [
        ("d_h", d_h, (B, T, H)),
        ("d_cells", d_cells, (B, T, H)),
        ("d_gates", d_gates, (B, T, len(cell.gates), H)),
        *((f"d_states[{k}]", d, (B, H)) for k, d in enumerate(d_states)),
    ]
    for name, array, shape in arriving:
        if array is not None:
            check(name, array, shape, dtype)
    raise unreadable()
