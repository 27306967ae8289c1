"""The only importer of the native module: checks, allocates, calls.

Every function refuses an array of the wrong shape, dtype or layout by name; nothing is cast.
The equations are at the top of `engine/cells/*.h`; the contracts are in `engine/everystep.h`.

B batch, T time steps, I input features, H units, G gates.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from everystep import _engine
from everystep.cells import ACTIVATION_ALIASES, ACTIVATIONS, CELLS, Cell
from everystep.errors import DtypeError, OptionError, ShapeError

Array = NDArray[Any]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
BOOL = np.dtype(np.bool_)
MOST_THREADS = 1024

_ACTIVATION_CODES = {name: code for code, name in enumerate(ACTIVATIONS)}
_ACTIVATION_CODES |= {alias: _ACTIVATION_CODES[name] for alias, name in ACTIVATION_ALIASES.items()}
_CELL_CODES = {name: code for code, name in enumerate(CELLS)}


class Packed(NamedTuple):
    """A cell's weights in the layout of this machine's instruction set; never store `data`.

    Attributes:
        cell: which cell they are of.
        inputs: I.
        units: H.
        data: the packed weights and bias, of the weights' dtype.
    """

    cell: Cell
    inputs: int
    units: int
    data: Array


class Outputs(NamedTuple):
    """What a run returns: here arrays, in `everystep.keras` tensors of its backend.

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

    arguments: dict[str, Any]
    h: Array
    c: Array | None
    tape: Array


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


class PackedMatrix(NamedTuple):
    """A (K,N) matrix in the layout of this machine's instruction set, for `product`; never store `data`."""

    rows: int
    columns: int
    data: Array


# ---- Cells ----


def pack(cell: str, kernel: Array, recurrent_kernel: Array, bias: Array | None = None) -> Packed:
    """Packs a cell's weights once for any number of runs and steps.

    Args:
        cell: a key of `everystep.cells.CELLS`.
        kernel: (I,GH), float32 or float64.
        recurrent_kernel: (H,GH), of the same dtype.
        bias: (GH), (2,GH) for a cell that has two, or None for zeros.

    Raises:
        OptionError: the cell is unknown. ShapeError, DtypeError: a weight does not fit.
    """
    if not isinstance(cell, str) or cell not in CELLS:
        raise OptionError(f"cell must be one of {', '.join(CELLS)}; got {cell!r}")
    of = CELLS[cell]
    _check_axes("kernel", kernel, "(I,GH)")
    _check_axes("recurrent_kernel", recurrent_kernel, "(H,GH)")
    _check_float("recurrent_kernel", recurrent_kernel)
    inputs, units = kernel.shape[0], recurrent_kernel.shape[0]
    shapes = of.weight_shapes(inputs, units)
    dtype = recurrent_kernel.dtype
    kernel = _check("kernel", kernel, shapes["kernel"], dtype)
    recurrent_kernel = _check("recurrent_kernel", recurrent_kernel, shapes["recurrent_kernel"], dtype)
    bias = None if bias is None else _check("bias", bias, shapes["bias"], dtype)
    return Packed(of, inputs, units, _engine.pack(_CELL_CODES[cell], kernel, recurrent_kernel, bias))


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
    call, outputs = _prepare(**locals())  # all the arguments, by name
    _engine.run(*call)
    return outputs


def run_together(calls: Sequence[dict[str, Any]]) -> list[Outputs]:
    """Several runs that do not wait for each other, such as the two directions of a bidirectional layer.

    Args:
        calls: the arguments of `run` for each, by name.

    Returns:
        What `run` returns for each, to the bit.

    Raises:
        ShapeError, DtypeError, OptionError: as `run`.
    """
    prepared = [_prepare(**{**(run.__kwdefaults__ or {}), **call}) for call in calls]
    dtypes = {call["packed"].data.dtype.name for call in calls}
    if len(dtypes) == 1:
        getattr(_engine, f"run_together_{dtypes.pop()}")([call for call, _ in prepared])
    else:
        for call, _ in prepared:
            _engine.run(*call)
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
    _check_axes("x_t", x_t, f"(B,I), here (B,{packed.inputs}), without a time axis")
    B, H, dtype = x_t.shape[0], packed.units, packed.data.dtype
    x_t = _check("x_t", x_t, (B, packed.inputs), dtype)
    per_step = {}
    for name, flags in (("mask", mask), ("resets", resets)):
        per_step[name] = None if flags is None else _check(name, flags, (B,), BOOL)[:, None]
    arguments = _arguments(
        packed, x_t[:, None], 1, states, **per_step, reset_states=reset_states, dropout=None, recurrent_dropout=None,
        activation=activation, recurrent_activation=recurrent_activation,
    )  # fmt: skip
    if out is None:
        last = tuple(np.empty((B, H), dtype) for _ in packed.cell.states)
    else:
        last = tuple(_writeable(f"out[{k}]", new) for k, new in enumerate(_check_states("out", packed, out, B)))
        if any(np.may_share_memory(new, other) for k, new in enumerate(last) for other in last[:k]):
            raise OptionError("out must be arrays of their own for each state; two of them share memory")
    g = np.empty((B, 1, len(packed.cell.gates), H), dtype) if gates else None
    _engine.run(**arguments, backwards=False, packed=packed.data, h=None, c=None, gates=g, tape=None, last=last)
    return Step(last, None if g is None else g[:, 0])


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
            weights[name] = _check(name, weights[name], shape, dtype)
        elif bias is not None:
            bias = _check(name, bias, shape, dtype)
    d_states = (None,) * len(cell.states) if d_states is None else tuple(d_states)
    if len(d_states) != len(cell.states):
        raise ShapeError(f"d_states must be {len(cell.states)} arrays ({', '.join(cell.states)}); got {len(d_states)}")
    if d_cells is not None and len(cell.states) == 1:
        raise _no_cell_state("d_cells", cell)
    arriving = {"d_h": (d_h, (B, T, H)), "d_cells": (d_cells, (B, T, H)), "d_gates": (d_gates, (B, T, G, H))}
    arriving |= {f"d_states[{k}]": (d, (B, H)) for k, d in enumerate(d_states)}
    checked = {k: None if d is None else _check(k, d, shape, dtype) for k, (d, shape) in arriving.items()}

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


# ---- Dense layers and elementwise functions ----


def pack_matrix(matrix: Array) -> PackedMatrix:
    """Packs a (K,N) matrix, float32 or float64, once for any number of products."""
    _check_axes("matrix", matrix, "(K,N)")
    _check_float("matrix", matrix)
    matrix = _check("matrix", matrix, matrix.shape, matrix.dtype)
    K, N = matrix.shape
    return PackedMatrix(K, N, _engine.pack_matrix(matrix))


def product(
    a: Array, matrix: PackedMatrix, bias: Array | None = None, activation: str = "linear", out: Array | None = None
) -> Array:
    """activation(a matrix + bias), (...,K) by (K,N): each number is the bias, then the products in the order of K.

    Raises:
        ShapeError, DtypeError: an array does not fit the matrix. OptionError: an unknown activation, or an `out`
            that shares memory with what is read.
    """
    K, N, dtype = matrix.rows, matrix.columns, matrix.data.dtype
    rows = _check_array("a", a).shape[:-1]
    a = _check("a", a, (*rows, K), dtype)
    bias = None if bias is None else _check("bias", bias, (N,), dtype)
    if out is None:
        out = np.empty((*rows, N), dtype)
    else:
        out = _writeable("out", _check("out", out, (*rows, N), dtype))
        if np.may_share_memory(out, a) or (bias is not None and np.may_share_memory(out, bias)):
            raise OptionError("out shares memory with a or bias, which are read while it is written: pass another")
    M = math.prod(rows)
    code = activation_code("activation", activation)
    _engine.product(a.reshape(M, K), matrix.data, bias, code, out.reshape(M, N))
    return out


def activate(name: str, x: Array, out: Array | None = None) -> Array:
    """An elementwise activation of a float32 or float64 array; `out` may be x itself."""
    _check_float("x", x)
    x = _check("x", x, x.shape, x.dtype)
    out = np.empty_like(x) if out is None else _writeable("out", _check("out", out, x.shape, x.dtype))
    _engine.activate(activation_code("name", name), x.reshape(-1), out.reshape(-1))
    return out


# ---- The machine ----


def engine_info() -> dict[str, Any]:
    """What the engine is: its instruction set, its threads, the dtypes, cells and activations that it has."""
    return {
        "instruction_set": _engine.instruction_set(),
        "num_threads": _engine.num_threads(),
        "dtypes": tuple(dtype.name for dtype in FLOATS),
        "cells": tuple(CELLS),
        "activations": ACTIVATIONS,
    }


def set_num_threads(n: int) -> None:
    """How many threads a call of the engine may use, the caller's included; results do not depend on it.

    Raises:
        OptionError: n is no whole number from 1 to MOST_THREADS.
    """
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 1 <= n <= MOST_THREADS:
        raise OptionError(f"the number of threads must be a whole number from 1 to {MOST_THREADS}; got {n!r}")
    _engine.set_num_threads(int(n))


# ---- Checks ----


def _check_environment() -> None:
    """The engine takes its own choice where an environment variable says what cannot be; the user should know."""
    instruction_set = os.environ.get("EVERYSTEP_INSTRUCTION_SET")
    if instruction_set and instruction_set != _engine.instruction_set():
        raise OptionError(
            f"EVERYSTEP_INSTRUCTION_SET is {instruction_set!r}, which this machine does not run: its best is "
            f"{_engine.instruction_set()!r}. Unset it, or choose 'avx512', 'avx2' or 'baseline' as the machine allows."
        )
    threads = os.environ.get("EVERYSTEP_NUM_THREADS")
    if threads and not (threads.isdecimal() and 1 <= int(threads) <= MOST_THREADS):
        raise OptionError(f"EVERYSTEP_NUM_THREADS must be a whole number from 1 to {MOST_THREADS}; got {threads!r}")


def activation_code(argument: str, name: str) -> int:
    """The number of an activation in `enum class Activation` of engine/everystep.h."""
    code = _ACTIVATION_CODES.get(name) if isinstance(name, str) else None
    if code is None:
        raise OptionError(f"{argument} must be one of {', '.join(_ACTIVATION_CODES)}; got {name!r}")
    return code


def _prepare(
    packed: Packed,
    x: Array,
    states: Sequence[Array],
    *,
    backwards: bool,
    sequences: bool,
    cells: bool,
    gates: bool,
    record: bool,
    **options: Any,
) -> tuple[tuple[Any, ...], Outputs]:
    """The native call of a run, its arguments in their order, and the outputs that it will have written."""
    _check_axes("x", x, f"(B,T,I), here (B,T,{packed.inputs})")
    (B, T, _), H, G, dtype = x.shape, packed.units, len(packed.cell.gates), packed.data.dtype
    arguments = _arguments(packed, x, T, states, **options) | {"backwards": backwards}
    two = len(packed.cell.states) > 1
    if cells and not two:
        raise _no_cell_state("cells", packed.cell)
    h = np.empty((B, T, H), dtype) if sequences or record else None
    c = np.empty((B, T, H), dtype) if cells or (record and two) else None
    g = np.empty((B, T, G, H), dtype) if gates else None
    tape = np.empty((B, T, packed.cell.taped, H), dtype) if record else None
    last = tuple(np.empty((B, H), dtype) for _ in packed.cell.states)
    kept = Record(arguments, h, c, tape) if h is not None and tape is not None else None
    outputs = Outputs(h if sequences and h is not None else last[0], last, c if cells else None, g, kept)
    return (*arguments.values(), packed.data, h, c, g, tape, last), outputs


def _arguments(
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
    start = _check_states("states", packed, states, B)
    return {
        "cell": _CELL_CODES[packed.cell.name],
        "activation": activation_code("activation", activation),
        "recurrent_activation": activation_code("recurrent_activation", recurrent_activation),
        "x": _check("x", x, (B, T, packed.inputs), dtype),
        "start": start,
        "mask": None if mask is None else _check("mask", mask, (B, T), BOOL),
        "resets": None if resets is None else _check("resets", resets, (B, T), BOOL),
        "reset": start if reset_states is None else _check_states("reset_states", packed, reset_states, B),
        "dropout": None if dropout is None else _check("dropout", dropout, (G, B, packed.inputs), dtype),
        "recurrent_dropout": None
        if recurrent_dropout is None
        else _check("recurrent_dropout", recurrent_dropout, (G, B, packed.units), dtype),
    }


def _no_cell_state(argument: str, cell: Cell) -> OptionError:
    return OptionError(f"{argument}: a {cell.name} has no cell state; its only state is its output. Leave it out.")


def _check_states(name: str, packed: Packed, states: Sequence[Array], B: int) -> tuple[Array, ...]:
    wanted = packed.cell.states
    if states is None or len(states) != len(wanted):
        came = "None" if states is None else len(states)
        raise ShapeError(f"{name} must be {len(wanted)} arrays ({', '.join(wanted)}); got {came}")
    shape, dtype = (B, packed.units), packed.data.dtype
    return tuple(_check(f"{name}[{k}]", state, shape, dtype) for k, state in enumerate(states))


def _check(name: str, array: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    _check_array(name, array)
    if array.shape != shape:
        raise ShapeError(f"{name} must be of shape {shape}; got {array.shape}")
    if array.dtype != dtype:
        raise DtypeError(f"{name} must be {dtype}, as the weights; got {array.dtype}: convert it with astype"
                         if dtype != BOOL else f"{name} must be bool; got {array.dtype}")  # fmt: skip
    if not array.flags.c_contiguous:
        raise DtypeError(f"{name} must be contiguous in C order: pass np.ascontiguousarray({name})")
    return array


def _check_array(name: str, array: Array) -> Array:
    if not isinstance(array, np.ndarray):
        raise DtypeError(f"{name} must be a NumPy array; got {type(array).__name__}")
    return array


def _check_axes(name: str, array: Array, axes: str) -> None:
    """axes: one letter for each, "(B,T,I)", and what else there is to say of them."""
    if _check_array(name, array).ndim != axes.partition(")")[0].count(",") + 1:
        raise ShapeError(f"{name} must be {axes}; got {array.shape}")


def _writeable(name: str, array: Array) -> Array:
    if not array.flags.writeable:
        raise DtypeError(f"{name} is written to, and must be a writeable array")
    return array


def _check_float(name: str, array: Array) -> None:
    if _check_array(name, array).dtype not in FLOATS:
        raise DtypeError(f"{name} must be float32 or float64; got {array.dtype}")


_check_environment()
