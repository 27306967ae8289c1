"""The bits contract: the same bits whatever the batch, the threads, the cuts in time, run or step, what else is asked.

`engine/split.h` shares a run out to threads by rows, from 4 rows a thread on, or else by units, where a step is long
enough; the shapes here are on both sides of that and long enough for the pool to be woken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from engine_cases import EVERY_CELL, FEATURES, Calls, Case, assert_same_bits, case, cases, examples, numbers, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from everystep import engine

quick = settings(deadline=None, derandomize=True, max_examples=examples(60))
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = engine.engine_info()["num_threads"]
    yield
    engine.set_num_threads(before)


def assert_same(a: dict[str, Any], b: dict[str, Any], names: Any = None) -> None:
    for name in a if names is None else names:
        assert_same_bits(a[name], b[name], name)


def gradients_by_row(call: Case, arriving: dict[str, Any]) -> dict[str, Any]:
    return {name: v for name, v in call.gradients(arriving).items() if name not in call.weights()}


def every_kind(cell: str, dtype: Any, seed: int = 0) -> list[Case]:
    """Small and large, for the pool and not, with the usual activations and others, plain and with every option."""
    rng = np.random.default_rng(seed)
    other = dict(activation="silu", recurrent_activation="hard_sigmoid")
    return [
        case(rng, 64, 3, 5, 7, dtype, cell=cell, has=("bias",)),
        case(rng, 64, 12, 24, 45, dtype, cell=cell, has=FEATURES),
        case(rng, 64, 4, 24, 45, dtype, cell=cell, has=("bias", "mask"), backwards=True, **other),
    ]


# ---- Batch ----


@EVERY_CELL
@DTYPES
def test_every_batch_size(dtype: Any, cell: str) -> None:
    """The first n rows alone, for n from 1 to 64, and every row alone, are those rows of the whole."""
    for call in every_kind(cell, dtype):
        whole, packed = numbers(call.run_all()), call.packed()
        for which in [slice(0, n) for n in range(1, 64)] + [slice(b, b + 1) for b in range(0, 64, 3)]:
            assert_same(numbers(call.rows(which).run_all(packed)), {name: v[which] for name, v in whole.items()})


@EVERY_CELL
@DTYPES
def test_every_batch_size_of_gradients(dtype: Any, cell: str) -> None:
    for call in every_kind(cell, dtype):
        rng = np.random.default_rng(1)
        arriving = call.arriving(rng)
        whole = gradients_by_row(call, arriving)
        for which in [slice(0, n) for n in (1, 2, 3, 4, 5, 7, 8, 13, 31, 63)] + [
            slice(b, b + 1) for b in range(0, 64, 9)
        ]:
            part = {name: np.ascontiguousarray(d[which]) for name, d in arriving.items() if name != "d_states"}
            part["d_states"] = tuple(np.ascontiguousarray(d[which]) for d in arriving["d_states"])
            found = gradients_by_row(call.rows(which), part)
            assert_same(found, {name: rows_of(name, v, which) for name, v in whole.items()})


@EVERY_CELL
@quick
@given(cases(np.float32, B=st.integers(1, 9)), st.data())
def test_any_rows_in_any_order(cell: str, of: Calls, data: Any) -> None:
    call = of(cell)
    which = np.array(data.draw(st.lists(st.integers(0, call.shape[0] - 1), min_size=1, max_size=12)))
    whole = numbers(call.run_all())
    assert_same(numbers(call.rows(which).run_all()), {name: v[which] for name, v in whole.items()})


@DTYPES
def test_large_tape(dtype: Any) -> None:
    """The tape of four rows is large enough to be stored past the caches, and that of one is not."""
    call = case(np.random.default_rng(5), 4, 450, 8, 96, dtype, has=("bias",))
    together = call.run(record=True).record
    assert together is not None
    assert together.tape.nbytes > 2 << 20
    assert together.tape.ctypes.data % 64 == 0
    for b in range(4):
        alone = call.rows(slice(b, b + 1)).run(record=True).record
        assert alone is not None
        assert alone.tape.nbytes < 2 << 20
        assert_same_bits(together.tape[b], alone.tape[0], "tape")


# ---- Threads ----

# (B, T, I, H): rows in 2 and in 3 parts; units in parts; too few rows for rows and steps too short for units; one row
# whose steps are not shared out, but the products after them are; and units since the weights are large.
SHARED = [(8, 30, 16, 64), (13, 30, 16, 64), (1, 8, 20, 330), (3, 6, 20, 330), (7, 6, 20, 200), (5, 300, 40, 20),
          (1, 1600, 40, 20), (12, 3, 16, 768)]  # fmt: skip


@EVERY_CELL
@DTYPES
@pytest.mark.parametrize("shape", SHARED, ids=str)
@pytest.mark.parametrize("has", [("bias",), FEATURES], ids=["plain", "everything"])
def test_threads(shape: tuple[int, int, int, int], has: tuple[str, ...], dtype: Any, cell: str) -> None:
    """All gradients, those of the weights included."""
    rng = np.random.default_rng(2)
    call = case(rng, *shape, dtype, cell=cell, has=has)
    arriving = call.arriving(rng)
    found = []
    for n in (1, 2, 3):
        engine.set_num_threads(n)
        found.append((numbers(call.run_all()), call.gradients(arriving)))
    for values, gradients in found[1:]:
        assert_same(found[0][0], values)
        assert_same(found[0][1], gradients)


@DTYPES
def test_threads_of_products(dtype: Any) -> None:
    rng = np.random.default_rng(3)
    for M, K, N in ((300, 100, 70), (3, 1000, 600), (1, 2000, 1000)):
        a, matrix, bias = (rng.normal(size=shape).astype(dtype) for shape in ((M, K), (K, N), (N,)))
        packed, found = engine.pack_matrix(matrix), []
        for n in (1, 2, 3):
            engine.set_num_threads(n)
            found.append(engine.product(a, packed, bias, "tanh"))
            for row in range(0, M, 37):
                assert_same_bits(engine.product(a[row], packed, bias, "tanh"), found[0][row])
        for other in found[1:]:
            assert_same_bits(found[0], other)


# ---- Time ----


@EVERY_CELL
@DTYPES
def test_every_cut(dtype: Any, cell: str) -> None:
    """Two runs, the second from the states of the first, for every cut; and a step at a time."""
    for call in every_kind(cell, dtype, seed=4):
        T, H = call.shape[1], call.shape[3]
        call = call.with_(**{f"reset_{s}": np.full((64, H), k, dtype) for k, s in enumerate(call.letters)})
        whole = numbers(call.run_all())
        for cut in range(T + 1):
            order = (
                (slice(T - cut, T), slice(0, T - cut)) if call.options["backwards"] else (slice(0, cut), slice(cut, T))
            )
            first = call.steps(order[0]).run_all()
            second = call.steps(order[1]).with_(**dict(zip(call.starts, first.states, strict=True))).run_all()
            parts = numbers(first), numbers(second)
            joined = {name: np.concatenate([p[name] for p in parts], axis=1) for name in whole if "last" not in name}
            assert_same(parts[1] | joined, whole)


@EVERY_CELL
@DTYPES
def test_cuts_of_gradients(dtype: Any, cell: str) -> None:
    """The gradients of x and the first states, from the last part to the first. Those of the reset states and of the
    dropouts are sums over all steps, and are not of one part."""
    rng = np.random.default_rng(5)
    call = case(rng, 6, 9, 5, 19, dtype, cell=cell, has=FEATURES)
    arriving = call.arriving(rng)
    whole = call.gradients(arriving)
    for cut in range(1, 9):
        first, second = call.steps(slice(0, cut)), call.steps(slice(cut, 9))
        second = second.with_(**dict(zip(call.starts, first.run().states, strict=True)))
        steps = {name: d for name, d in arriving.items() if name != "d_states"}
        late = {name: np.ascontiguousarray(d[:, cut:]) for name, d in steps.items()}
        late_found = second.gradients(dict(late, d_states=arriving["d_states"]))
        early = {name: np.ascontiguousarray(d[:, :cut]) for name, d in steps.items()}
        early_found = first.gradients(dict(early, d_states=tuple(late_found[name] for name in call.starts)))
        assert_same_bits(np.concatenate([early_found["x"], late_found["x"]], axis=1), whole["x"], "x")
        assert_same(early_found, whole, call.starts)


@EVERY_CELL
@DTYPES
def test_step_is_run(dtype: Any, cell: str) -> None:
    rng = np.random.default_rng(6)
    for B in (1, 2, 5):
        call = case(rng, B, 20, 6, 37, dtype, cell=cell, has=("bias", "mask", "resets", "reset_states"))
        packed, reset_states = call.packed(), call.call()["reset_states"]
        whole = numbers(call.run_all())
        states: Any = tuple(s.copy() for s in call.states())
        for t in range(20):
            flags = {name: np.ascontiguousarray(call.options[name][:, t]) for name in ("mask", "resets")}
            x_t = np.ascontiguousarray(call.arrays["x"][:, t])
            found = engine.step(packed, x_t, states, **flags, reset_states=reset_states, gates=True, out=states)
            now = dict(zip(call.letters, states, strict=True), gates=found.gates)
            assert_same(now, {name: whole[name][:, t] for name in now})


@EVERY_CELL
@quick
@given(cases(np.float64, T=st.integers(1, 6)), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_padding_reaches_nothing(cell: str, of: Calls, more: int, seed: int) -> None:
    """Masked steps after the last (before the first, backwards) with NaN and infinities in x: not a bit changes in
    values or gradients, those of the weights aside, whose order of summation depends on T; and none there is NaN."""
    call, rng = of(cell), np.random.default_rng(seed)
    B, T, I, _ = call.shape
    if call.options["mask"] is None:
        call = call.with_(dict(mask=np.ones((B, T), bool)))
    junk = rng.choice([np.nan, np.inf, -np.inf, 1e300], size=(B, more, I))
    no = np.zeros((B, more), bool)
    order = (lambda a, b: [b, a]) if call.options["backwards"] else (lambda a, b: [a, b])
    options = {"mask": np.concatenate(order(call.options["mask"], no), axis=1)}
    if call.options["resets"] is not None:
        options["resets"] = np.concatenate(order(call.options["resets"], no), axis=1)
    longer = call.with_(options, x=np.concatenate(order(call.arrays["x"], junk), axis=1))

    found, wanted = numbers(longer.run_all()), numbers(call.run_all())
    assert_same({name: v[:, :T] if v.ndim > 2 else v for name, v in found.items()}, wanted)
    assert (found["gates"][:, T:] == 0).all()
    for name in call.letters:
        assert_same_bits(found[name][:, T:], np.repeat(wanted[f"last_{name}"][:, None], more, axis=1), name)

    arriving = call.arriving(rng)
    padded = {
        name: np.concatenate([d, np.full((B, more, *d.shape[2:]), np.nan if name == "d_gates" else 0)], axis=1)
        for name, d in arriving.items()
        if name != "d_states"
    }
    ours = longer.gradients(dict(padded, d_states=arriving["d_states"]))
    theirs = call.gradients(arriving)
    own = slice(more, None) if call.options["backwards"] else slice(0, T)
    padding = slice(0, more) if call.options["backwards"] else slice(T, None)
    assert (ours["x"][:, padding] == 0).all()
    assert_same_bits(np.ascontiguousarray(ours.pop("x")[:, own]), theirs.pop("x"), "x")
    for name, wanted_gradient in theirs.items():
        np.testing.assert_allclose(ours[name], wanted_gradient, rtol=1e-12, atol=1e-12, err_msg=name)
    assert_same(ours, theirs, call.starts)


@EVERY_CELL
@DTYPES
def test_nan_in_masked_steps_reaches_nothing(dtype: Any, cell: str) -> None:
    """In the middle of sequences, over sizes that use every path: the same bits as with zeros in their place."""
    rng = np.random.default_rng(7)
    for shape in ((5, 8, 6, 37), (1, 8, 6, 330)):
        call = case(rng, *shape, dtype, cell=cell, has=FEATURES)
        arriving = call.arriving(rng)
        hidden = ~call.options["mask"][..., None]
        zeros = call.with_(x=np.where(hidden, 0, call.arrays["x"]).astype(dtype))
        junk = call.with_(x=np.where(hidden, np.nan, call.arrays["x"]).astype(dtype))
        assert_same(numbers(junk.run_all()), numbers(zeros.run_all()))
        d_gates = np.where(hidden[..., None], np.nan, arriving["d_gates"]).astype(dtype)
        assert_same(junk.gradients(dict(arriving, d_gates=d_gates)), zeros.gradients(arriving))


# ---- What is asked, and what was there before ----


@EVERY_CELL
@DTYPES
def test_outputs_asked_or_not(dtype: Any, cell: str) -> None:
    for call in every_kind(cell, dtype, seed=8):
        whole = numbers(call.run_all())
        for n in range(16):
            names = dict(
                zip(("sequences", "cells", "gates", "record"), (bool(n >> k & 1) for k in range(4)), strict=True)
            )
            if names["cells"] and "c" not in call.letters:
                continue
            found = numbers(call.run(**names))
            if not names["sequences"]:
                assert_same_bits(found.pop("h"), whole["last_h"])
            assert_same({name: value for name, value in found.items() if value is not None}, whole)


@EVERY_CELL
@DTYPES
def test_what_an_earlier_call_left_behind_reaches_nothing(dtype: Any, cell: str) -> None:
    """The engine keeps its scratch memory: a call after one of NaNs alone gives what it gave before."""
    rng = np.random.default_rng(9)
    calls = [case(rng, B, 5, 6, H, dtype, cell=cell, has=FEATURES) for B, H in ((3, 5), (9, 21), (1, 330))]
    arriving = [call.arriving(rng) for call in calls]
    before = [(numbers(call.run_all()), call.gradients(d)) for call, d in zip(calls, arriving, strict=True)]
    junk = case(rng, 9, 9, 40, 350, dtype, has=FEATURES)
    junk = junk.with_(**{name: np.full_like(v, np.nan) for name, v in junk.arrays.items()})
    for call, d, (values, gradients) in zip(calls, arriving, before, strict=True):
        junk.gradients(junk.arriving(rng))
        assert_same(numbers(call.run_all()), values)
        junk.gradients(junk.arriving(rng))
        assert_same(call.gradients(d), gradients)
