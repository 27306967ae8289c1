"""Calls of the engine whose arrays stay the same: checked once, then made again and again on what is in them by then.

Each function takes arrays and returns a call without arguments, which reads the ones and writes the others, allocates
nothing and returns None. It is an object of the native module that holds the arrays' addresses and keeps them alive: no
argument goes over. A `Program` makes several of them in one call. A short call keeps Python's lock, which costs as much
to let go as a small step takes. Two threads may not make one call at the same time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from everystep import _engine
from everystep.engine.arguments import activation_code, check_states, refused, run_arguments
from everystep.engine.arrays import BOOL, Array, check, check_axes, check_float, writeable
from everystep.engine.forward import Outputs, prepared_run
from everystep.engine.products import PackedMatrix
from everystep.engine.weights import Packed

Bound = Callable[[], object]


class Program:
    """Calls one after the other, between inputs that are copied in and outputs that are copied out.

    Args:
        calls: of this module or any others without arguments, in their order.
        inputs: arrays that the calls read, C-contiguous. outputs: arrays that hold what they find.
        unchanged: arrays (1) of int64, with what each must hold for the calls to be right.

    Attributes:
        step: step(x, out) copies x, one array or several in a list, over the inputs, makes the calls, and copies the
            outputs to `out`, or where that is None to new arrays; it returns these. Where anything is not exactly as it
            must be (another class than NumPy's own array, another dtype or shape, an `out` that is read-only, another
            count of arrays, an `unchanged` array that is not) it does nothing and returns None. What a call raises
            comes through.
    """

    def __init__(
        self,
        calls: Sequence[Bound],
        inputs: Sequence[Array],
        outputs: Sequence[Array],
        unchanged: Sequence[tuple[Array, int]] = (),
    ) -> None:
        self._native = _engine.Program(list(calls), list(inputs), list(outputs), list(unchanged))
        self.step: Callable[[Any, Any], Any] = self._native.step

    def timed(self, n: int) -> float:
        """Seconds that n rounds of the calls take, which go on from the states that are there."""
        return float(self._native.timed(n))


def bound_step(
    packed: Packed,
    x_t: Array,
    states: Sequence[Array],
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    reset_states: Sequence[Array] | None = None,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    gates: Array | None = None,
) -> Bound:
    """`step`, which writes the new states over the old ones.

    Args:
        gates: (B,G,H), takes the gates; None: they are not wanted.
        the others: as of `step`.

    Raises:
        ShapeError, DtypeError, OptionError: as `step`.
    """
    check_axes("x_t", x_t, f"(B,I), here (B,{packed.inputs}), without a time axis")
    B, G, H, dtype = x_t.shape[0], len(packed.cell.gates), packed.units, packed.data.dtype
    x_t = check("x_t", x_t, (B, packed.inputs), dtype)
    given = check_states("states", packed.cell, states, (B, H), dtype)
    last = tuple(writeable(f"states[{k}]", state) for k, state in enumerate(given))
    per_step = {
        name: None if flags is None else check(name, flags, (B,), BOOL)[:, None]
        for name, flags in (("mask", mask), ("resets", resets))
    }
    arguments = run_arguments(
        packed, x_t[:, None], 1, last, **per_step, reset_states=reset_states, dropout=None, recurrent_dropout=None,
        backwards=False, activation=activation, recurrent_activation=recurrent_activation,
    )  # fmt: skip
    g = None if gates is None else writeable("gates", check("gates", gates, (B, G, H), dtype))[:, None]
    call: Bound | None = _engine.bind_run((arguments, packed.data, None, None, g, None, last))
    return refused(packed, arguments) if call is None else call


def bound_runs(calls: Sequence[dict[str, Any]]) -> tuple[Bound, list[Outputs]]:
    """`run_together`, of one run or several of one dtype, which writes to the same outputs each time.

    Raises:
        as `run_together`.
    """
    prepared = [prepared_run(call) for call in calls]
    native = [call for call, _ in prepared]
    call: Bound | None = _engine.bind_run(native[0])
    if len(calls) > 1:
        call = partial(_engine.run_together, native) if _engine.run_together(native) else None
    if call is None:
        for asked, (arguments, *_) in zip(calls, native, strict=True):
            arguments.check(asked["packed"])
        refused(calls[0]["packed"], native[0][0])
    return call, [outputs for _, outputs in prepared]


def bound_product(a: Array, matrix: PackedMatrix, bias: Array | None, activation: str, out: Array) -> Bound:
    """`product`, which writes to `out`; its arrays may not share memory."""
    K, N, dtype = matrix.rows, matrix.columns, matrix.data.dtype
    rows = a.shape[:-1]
    a = check("a", a, (*rows, K), dtype)
    bias = None if bias is None else check("bias", bias, (N,), dtype)
    out = writeable("out", check("out", out, (*rows, N), dtype))
    M = math.prod(rows)
    code = activation_code("activation", activation)
    call: Bound = _engine.bind_product(a.reshape(M, K), matrix.data, bias, code, out.reshape(M, N))
    return call


def bound_activation(name: str, x: Array, out: Array) -> Bound:
    """`activate`, which writes to `out`, which may be x itself."""
    check_float("x", x)
    x = check("x", x, x.shape, x.dtype)
    out = writeable("out", check("out", out, x.shape, x.dtype))
    call: Bound = _engine.bind_activate(activation_code("name", name), x.reshape(-1), out.reshape(-1))
    return call
