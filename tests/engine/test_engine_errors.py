"""Every refusal says which array or option, what was expected, and what came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from engine_cases import EVERY_CELL, FEATURES, case

from everystep import engine
from everystep.cells import CELLS
from everystep.errors import DtypeError, EverystepError, OptionError, ShapeError

B, T, I, H = 2, 4, 3, 5
F = np.float32


def zeros(*shape: int, dtype: Any = F) -> Any:
    return np.zeros(shape, dtype)


KERNEL, RECURRENT, BIAS = zeros(I, 4 * H), zeros(H, 4 * H), zeros(4 * H)
PACKED = engine.pack("lstm", KERNEL, RECURRENT, BIAS)
X, X_T, STATES = zeros(B, T, I), zeros(B, I), (zeros(B, H), zeros(B, H))
MATRIX = engine.pack_matrix(zeros(I, H))


def sideways(*shape: int) -> Any:
    """Of this shape, but in Fortran's order."""
    return np.zeros(shape[::-1], F).T


def locked(*shape: int) -> Any:
    value = zeros(*shape)
    value.flags.writeable = False
    return value


def run(x: Any = X, states: Any = STATES, **options: Any) -> Any:
    return engine.run(PACKED, x, states, **options)


def step(x_t: Any = X_T, states: Any = STATES, **options: Any) -> Any:
    return engine.step(PACKED, x_t, states, **options)


def backward(kernel: Any = KERNEL, recurrent_kernel: Any = RECURRENT, bias: Any = BIAS, **arriving: Any) -> Any:
    record = run(record=True).record
    assert record is not None
    return engine.run_backward(record, kernel, recurrent_kernel, bias, **arriving)


class Symbolic:
    """As a framework's tensor that has no numbers yet."""

    shape, ndim = (None, None, I), 3


# (what is called, the error, what its message has to say)
REFUSED: list[tuple[Callable[[], Any], type[EverystepError], tuple[str, ...]]] = [
    # pack
    (lambda: engine.pack("gruu", KERNEL, RECURRENT), OptionError, ("cell", "lstm", "'gruu'")),
    (lambda: engine.pack("lstm", zeros(I, 7), RECURRENT), ShapeError, ("kernel", "(3, 20)", "(3, 7)")),
    (lambda: engine.pack("lstm", zeros(I), RECURRENT), ShapeError, ("kernel", "(I,GH)", "(3,)")),
    (lambda: engine.pack("lstm", KERNEL, zeros(H, 7)), ShapeError, ("kernel", "(5, 7)")),
    (lambda: engine.pack("lstm", KERNEL, RECURRENT, zeros(7)), ShapeError, ("bias", "(20,)", "(7,)")),
    (lambda: engine.pack("lstm", KERNEL.astype("f8"), RECURRENT), DtypeError, ("kernel", "float32", "float64")),
    (lambda: engine.pack("lstm", KERNEL, RECURRENT, BIAS.astype("f8")), DtypeError, ("bias", "float32", "float64")),
    (
        lambda: engine.pack("lstm", KERNEL.astype("f2"), RECURRENT.astype("f2")),
        DtypeError,
        ("recurrent_kernel", "float32 or float64", "float16"),
    ),
    (lambda: engine.pack("lstm", sideways(I, 4 * H), RECURRENT), DtypeError, ("kernel", "contiguous")),
    # run
    (lambda: run(zeros(B, I)), ShapeError, ("x", "(B,T,I)", "(2, 3)")),
    (lambda: run(zeros(B, T, 7)), ShapeError, ("x", "(2, 4, 3)", "(2, 4, 7)")),
    (lambda: run(X.astype("f8")), DtypeError, ("x", "float32", "float64", "astype")),
    (lambda: run(X.astype("i4")), DtypeError, ("x", "float32", "int32")),
    (lambda: run(X.astype(">f4")), DtypeError, ("x", "float32", ">f4")),
    (lambda: run(sideways(B, T, I)), DtypeError, ("x", "contiguous", "np.ascontiguousarray(x)")),
    (lambda: run(X[:, ::2]), DtypeError, ("x", "contiguous")),
    (lambda: run(states=STATES[:1]), ShapeError, ("states", "2 arrays (h, c)", "got 1")),
    (lambda: run(states=(*STATES, STATES[0])), ShapeError, ("states", "2 arrays (h, c)", "got 3")),
    (lambda: run(states=(STATES[0], zeros(B, 7))), ShapeError, ("states[1]", "(2, 5)", "(2, 7)")),
    (lambda: run(states=(zeros(1, H), STATES[1])), ShapeError, ("states[0]", "(2, 5)", "(1, 5)")),
    (lambda: run(states=([[0.0] * H] * B, STATES[1])), DtypeError, ("states[0]", "NumPy", "list")),
    (lambda: run(mask=np.ones((B, T), int)), DtypeError, ("mask", "bool", "int64")),
    (lambda: run(mask=np.ones((B, 7), bool)), ShapeError, ("mask", "(2, 4)", "(2, 7)")),
    (lambda: run(mask=np.ones((T, B), bool).T), DtypeError, ("mask", "contiguous")),
    (lambda: run(mask=[[True] * T] * B), DtypeError, ("mask", "NumPy", "list")),
    (lambda: run(resets=np.ones((B, T, 1), bool)), ShapeError, ("resets", "(2, 4)", "(2, 4, 1)")),
    (lambda: run(resets=np.ones((B, T))), DtypeError, ("resets", "bool", "float64")),
    (lambda: run(reset_states=STATES[:1]), ShapeError, ("reset_states", "2 arrays (h, c)", "got 1")),
    (lambda: run(reset_states=(zeros(B, 7), STATES[1])), ShapeError, ("reset_states[0]", "(2, 5)", "(2, 7)")),
    (lambda: run(dropout=zeros(B, I)), ShapeError, ("dropout", "(4, 2, 3)", "(2, 3)")),
    (lambda: run(dropout=zeros(4, B, I, dtype="f8")), DtypeError, ("dropout", "float32", "float64")),
    (lambda: run(recurrent_dropout=zeros(3, B, H)), ShapeError, ("recurrent_dropout", "(4, 2, 5)", "(3, 2, 5)")),
    (lambda: run(activation="tahn"), OptionError, ("activation", "tanh", "'tahn'")),
    (lambda: run(recurrent_activation=None), OptionError, ("recurrent_activation", "sigmoid", "None")),
    # step
    (lambda: step(X), ShapeError, ("x_t", "(B,I)", "without a time axis", "(2, 4, 3)")),
    (lambda: step(states=STATES[:1]), ShapeError, ("states", "2 arrays", "got 1")),
    (lambda: step(mask=np.ones((B, 1), bool)), ShapeError, ("mask", "(2,)", "(2, 1)")),
    (lambda: step(resets=np.ones(B, int)), DtypeError, ("resets", "bool", "int64")),
    (lambda: step(out=STATES[:1]), ShapeError, ("out", "2 arrays", "got 1")),
    (lambda: step(out=(zeros(B, 7), zeros(B, H))), ShapeError, ("out[0]", "(2, 5)", "(2, 7)")),
    (lambda: step(out=(zeros(B, H), zeros(B, H, dtype="f8"))), DtypeError, ("out[1]", "float32", "float64")),
    (lambda: step(out=(zeros(B, H), sideways(B, H))), DtypeError, ("out[1]", "contiguous")),
    (lambda: step(activation="tahn"), OptionError, ("activation", "'tahn'")),
    # run_backward
    (lambda: backward(kernel=zeros(7, 4 * H)), ShapeError, ("kernel", "(3, 20)", "(7, 20)")),
    (lambda: backward(recurrent_kernel=zeros(7, 28)), ShapeError, ("recurrent_kernel", "(5, 20)", "(7, 28)")),
    (lambda: backward(bias=zeros(7)), ShapeError, ("bias", "(20,)", "(7,)")),
    (lambda: backward(kernel=KERNEL.astype("f8")), DtypeError, ("kernel", "float32", "float64")),
    (lambda: backward(d_h=zeros(B, H)), ShapeError, ("d_h", "(2, 4, 5)", "(2, 5)")),
    (lambda: backward(d_h=zeros(B, T, H, dtype="f8")), DtypeError, ("d_h", "float32", "float64")),
    (lambda: backward(d_h=sideways(B, T, H)), DtypeError, ("d_h", "contiguous")),
    (lambda: backward(d_states=(None,)), ShapeError, ("d_states", "2 arrays (h, c)", "got 1")),
    (lambda: backward(d_states=(None, zeros(B, 7))), ShapeError, ("d_states[1]", "(2, 5)", "(2, 7)")),
    (lambda: backward(d_cells=zeros(B, T, 7)), ShapeError, ("(2, 4, 5)", "(2, 4, 7)")),
    (lambda: backward(d_gates=zeros(B, T, H)), ShapeError, ("d_gates", "(2, 4, 4, 5)", "(2, 4, 5)")),
    # product, activate
    (lambda: engine.pack_matrix(zeros(I)), ShapeError, ("matrix", "(K,N)", "(3,)")),
    (lambda: engine.pack_matrix(zeros(I, H, dtype="i8")), DtypeError, ("matrix", "float32 or float64", "int64")),
    (lambda: engine.pack_matrix(sideways(I, H)), DtypeError, ("matrix", "contiguous")),
    (lambda: engine.product(zeros(B, 7), MATRIX), ShapeError, ("a", "(2, 3)", "(2, 7)")),
    (lambda: engine.product(np.array(1, F), MATRIX), ShapeError, ("a", "(3,)", "()")),
    (lambda: engine.product(zeros(B, I, dtype="f8"), MATRIX), DtypeError, ("a", "float32", "float64")),
    (lambda: engine.product(sideways(B, I), MATRIX), DtypeError, ("a", "contiguous")),
    (lambda: engine.product(zeros(B, I), MATRIX, zeros(7)), ShapeError, ("bias", "(5,)", "(7,)")),
    (lambda: engine.product(zeros(B, I), MATRIX, out=zeros(B, 7)), ShapeError, ("out", "(2, 5)", "(2, 7)")),
    (lambda: engine.product(zeros(B, I), MATRIX, out=sideways(B, H)), DtypeError, ("out", "contiguous")),
    (lambda: engine.product(zeros(B, I), MATRIX, activation="tahn"), OptionError, ("activation", "'tahn'")),
    (lambda: engine.activate("tahn", X), OptionError, ("name", "tanh", "'tahn'")),
    (lambda: engine.activate("tanh", X.astype("i4")), DtypeError, ("x", "float32 or float64", "int32")),
    (lambda: engine.activate("tanh", X[:, ::2]), DtypeError, ("x", "contiguous")),
    (lambda: engine.activate("tanh", X, out=zeros(B, T)), ShapeError, ("out", "(2, 4, 3)", "(2, 4)")),
    (lambda: engine.activate("tanh", X, out=X.astype("f8")), DtypeError, ("out", "float32", "float64")),
    # threads
    (lambda: engine.set_num_threads(0), OptionError, ("threads", "from 1 to 256", "0")),
    (lambda: engine.set_num_threads(-2), OptionError, ("threads", "-2")),
    (lambda: engine.set_num_threads(2.0), OptionError, ("threads", "whole number", "2.0")),  # type: ignore[arg-type]
    (lambda: engine.set_num_threads(True), OptionError, ("threads", "True")),
    (lambda: engine.pack("lstm", KERNEL.tolist(), RECURRENT), DtypeError, ("kernel", "NumPy", "list")),
    (lambda: engine.pack("lstm", KERNEL, RECURRENT.tolist()), DtypeError, ("recurrent_kernel", "NumPy", "list")),
    (lambda: engine.pack(["lstm"], KERNEL, RECURRENT), OptionError, ("cell", "['lstm']")),  # type: ignore[arg-type]
    (lambda: run(X.tolist()), DtypeError, ("x", "NumPy", "list")),
    (lambda: step(X[:, 0].tolist()), DtypeError, ("x_t", "NumPy", "list")),
    (lambda: step(X[:, 0]), DtypeError, ("x_t", "contiguous")),
    (lambda: run(Symbolic()), DtypeError, ("x", "NumPy", "Symbolic")),
    (lambda: run(states=(None, STATES[1])), DtypeError, ("states[0]", "NumPy", "NoneType")),
    (lambda: run(reset_states=(STATES[0], None)), DtypeError, ("reset_states[1]", "NumPy", "NoneType")),
    (lambda: run(mask=np.ones((B, T), np.uint8)), DtypeError, ("mask", "bool", "uint8")),
    (lambda: run(dropout=zeros(4, B, I, dtype="i4")), DtypeError, ("dropout", "float32", "int32")),
    (lambda: backward(kernel=None), DtypeError, ("kernel", "NumPy", "NoneType")),
    (lambda: backward(bias=zeros(1, 4 * H)), ShapeError, ("bias", "(20,)", "(1, 20)")),
    (lambda: backward(d_states=(zeros(B, H, dtype="f8"), None)), DtypeError, ("d_states[0]", "float32", "float64")),
    (lambda: run(states=None), ShapeError, ("states", "2 arrays (h, c)", "None")),
    (lambda: run(activation=["tanh"]), OptionError, ("activation", "['tanh']")),
    (lambda: step(out=(locked(B, H), zeros(B, H))), DtypeError, ("out[0]", "writeable")),
    (lambda: step(out=(zeros(B, H),) * 2), OptionError, ("out",)),
    (lambda: backward(recurrent_kernel=zeros(H)), ShapeError, ("recurrent_kernel", "(5, 20)", "(5,)")),
    (lambda: backward(recurrent_kernel=RECURRENT.tolist()), DtypeError, ("recurrent_kernel", "NumPy", "list")),
    (lambda: backward(d_cells=zeros(B, T, 7)), ShapeError, ("d_cells", "(2, 4, 5)", "(2, 4, 7)")),
    (lambda: engine.pack_matrix([[1.0]]), DtypeError, ("matrix", "NumPy", "list")),  # type: ignore[arg-type]
    (lambda: engine.product([[1.0] * I], MATRIX), DtypeError, ("a", "NumPy", "list")),  # type: ignore[arg-type]
    (lambda: engine.product(zeros(B, I), MATRIX, out=locked(B, H)), DtypeError, ("out", "writeable")),
    (lambda: engine.activate("tanh", [1.0]), DtypeError, ("x", "NumPy", "list")),  # type: ignore[arg-type]
    (lambda: engine.activate("tanh", X, out=locked(B, T, I)), DtypeError, ("out", "writeable")),
    (lambda: engine.set_num_threads(10**12), OptionError, ("threads", "1000000000000")),
]


def check(call: Callable[[], Any], error: type[EverystepError], says: tuple[str, ...]) -> None:
    with pytest.raises(error) as raised:
        call()
    message = str(raised.value)
    for words in says:
        assert words in message
    assert "std::" not in message


@pytest.mark.parametrize(("call", "error", "says"), REFUSED, ids=[f"{n}-{r[2][0]}" for n, r in enumerate(REFUSED)])
def test_refusals(call: Callable[[], Any], error: type[EverystepError], says: tuple[str, ...]) -> None:
    check(call, error, says)


def test_a_product_does_not_write_over_what_it_reads() -> None:
    """engine/everystep.h: an output may alias no input. It is refused, or it is right."""
    rng = np.random.default_rng(0)
    a, matrix = rng.normal(size=(7, 150)).astype(F), engine.pack_matrix(rng.normal(size=(150, 150)).astype(F))
    wanted = engine.product(a, matrix)
    try:
        found = engine.product(a, matrix, out=a)
    except OptionError:
        return
    np.testing.assert_array_equal(found, wanted)


def test_what_looks_odd_and_is_right() -> None:
    """Contiguous views with strides of their own, arrays that may not be written to, scalars, nothing at all."""
    one_row = np.ones((4, T, I), F)[::4]
    assert one_row.flags.c_contiguous
    np.testing.assert_array_equal(
        run(one_row, (zeros(1, H), zeros(1, H))).h, run(one_row.copy(), (zeros(1, H), zeros(1, H))).h
    )
    stacked = np.ones((2, B, H), F)
    np.testing.assert_array_equal(run(states=stacked).h, run(states=(stacked[0], stacked[1])).h)
    np.testing.assert_array_equal(run(locked(B, T, I)).h, run().h)
    bytes_of_x = np.zeros(X.nbytes + 1, np.uint8)[1:]
    for odd in (
        bytes_of_x.view(F).reshape(X.shape),
        np.ma.array(X),
        X.view(np.recarray),
        X.astype(np.dtype(F, metadata={"a": 1})),
    ):
        np.testing.assert_array_equal(run(odd, record=True).h, run().h)
    assert engine.activate("tanh", np.array(1.0)).shape == ()
    assert engine.activate("tanh", zeros(0, 3)).shape == (0, 3)
    assert engine.product(zeros(0, I), MATRIX).shape == (0, H)
    assert engine.product(zeros(I), MATRIX).shape == (H,)
    nothing = engine.pack("lstm", zeros(I, 0), zeros(0, 0))
    found = engine.run(nothing, X, (zeros(B, 0), zeros(B, 0)), record=True, gates=True, cells=True)
    assert found.h.shape == (B, T, 0)
    assert found.record is not None
    assert engine.run_backward(found.record, zeros(I, 0), zeros(0, 0)).x.tolist() == X.tolist()


# ---- What depends on the cell ----


@EVERY_CELL
def test_cells_of_a_cell_without(cell: str) -> None:
    """A cell with one state has no cell sequences, and no gradient of them arrives; the LSTM has."""
    call = case(np.random.default_rng(0), B, T, I, H, cell=cell)
    if "c" in CELLS[cell].states:
        assert call.run(cells=True).cells.shape == (B, T, H)
        return
    check(lambda: call.run(cells=True), OptionError, (cell, "no cell state"))
    record = call.run(record=True).record
    check(lambda: call.gradients(dict(d_cells=np.zeros((B, T, H))), record), OptionError, ("d_cells", cell))


@EVERY_CELL
def test_wrong_shapes_of_every_array(cell: str) -> None:
    """One more in the last axis of each array in turn, and one less of the arrays that come in tuples."""
    call = case(np.random.default_rng(0), B, T, I, H, cell=cell, has=FEATURES)
    record, arriving = call.run(record=True).record, call.arriving(np.random.default_rng(1))

    def longer(v: Any) -> Any:
        return np.zeros((*v.shape[:-1], v.shape[-1] + 1), v.dtype)

    def says(name: str, v: Any) -> tuple[str, ...]:
        return name, str(v.shape), str(longer(v).shape)

    weights = call.weights()
    for name, v in weights.items():
        wrong = weights | {name: longer(v)}
        check(lambda: engine.pack(cell, **wrong), ShapeError, says(name, v))  # noqa: B023
        check(lambda: engine.run_backward(record, **wrong), ShapeError, says(name, v))  # noqa: B023
    packed, options = call.packed(), dict(call.call(), x=call.arrays["x"], states=call.states())
    given = options | arriving
    for name, v in given.items():
        f = engine.run_backward if name in arriving else engine.run
        first: Any = (record, *weights.values()) if name in arriving else (packed,)
        full = arriving if name in arriving else options
        if isinstance(v, np.ndarray):
            check(lambda: f(*first, **full | {name: longer(v)}), ShapeError, says(name, v))  # noqa: B023
        elif isinstance(v, tuple):
            wanted = f"{len(v)} arrays ({', '.join(call.letters)})"
            check(lambda: f(*first, **full | {name: v[1:]}), ShapeError, (name, wanted))  # noqa: B023
            for k in range(len(v)):
                wrong = tuple(longer(state) if j == k else state for j, state in enumerate(v))
                check(lambda: f(*first, **full | {name: wrong}), ShapeError, says(f"{name}[{k}]", v[k]))  # noqa: B023


def test_a_gru_has_two_biases_or_one() -> None:
    """As Keras, by reset_after; the other's is refused."""
    kernel, recurrent_kernel = zeros(I, 3 * H), zeros(H, 3 * H)
    for cell, right, wrong in (("gru", (2, 15), (15,)), ("gru_reset_before", (15,), (2, 15))):
        engine.pack(cell, kernel, recurrent_kernel, zeros(*right))
        call = lambda: engine.pack(cell, kernel, recurrent_kernel, zeros(*wrong))  # noqa: B023, E731
        check(call, ShapeError, ("bias", str(right), str(wrong)))
