"""Runs and steps of the engine against the textbook loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_cases import (
    EVERY_CELL,
    FEATURES,
    Calls,
    Case,
    any_activations,
    assert_close64,
    assert_same_bits,
    case,
    cases,
    examples,
    is_tame,
    numbers,
    oracle_numbers,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rounding import assert_within, value_errors

from everystep import engine
from everystep.cells import CELLS

quick = settings(deadline=None, derandomize=True, max_examples=examples(150))


# Bounds of float32 do not grow with T and H where errors shrink faster than they arise: a small recurrent kernel.
SMALL = 0.01


def check64(call: Case) -> None:
    found, wanted = numbers(call.run_all()), oracle_numbers(call.oracle())
    assert found.keys() == wanted.keys()
    for name, ours in found.items():
        assert_close64(ours, wanted[name], name)


def check32(call: Case, useful: float) -> None:
    """Within the bound of tests/rounding.py, which is itself at most `useful`, so that it says something."""
    found, wanted, errors = numbers(call.run_all()), oracle_numbers(call.doubled().oracle()), value_errors(call)
    assert errors["h"].max(initial=0) <= useful
    assert found.keys() == wanted.keys()
    for name, ours in found.items():
        assert_within(ours, wanted[name], errors[name], name)


@EVERY_CELL
@quick
@given(cases(np.float64))
def test_every_shape_and_option_float64(cell: str, of: Calls) -> None:
    check64(of(cell))


@EVERY_CELL
@quick
@given(cases(np.float32, T=st.integers(0, 5), scale=0.3))
def test_every_shape_and_option_float32(cell: str, of: Calls) -> None:
    check32(of(cell), useful=1e-3)


@EVERY_CELL
@settings(quick, max_examples=examples(250))
@given(cases(np.float64, activations=any_activations, H=st.sampled_from([1, 3, 9]), B=st.just(2), T=st.just(3)))
def test_every_pair_of_activations(cell: str, of: Calls) -> None:
    with np.errstate(all="ignore"):
        assume(is_tame(call := of(cell)))
        check64(call)


@EVERY_CELL
@settings(quick, max_examples=examples(100))
@given(cases(np.float32, activations=any_activations, H=st.sampled_from([1, 3, 17]), T=st.just(3), scale=0.3))
def test_every_pair_of_activations_float32(cell: str, of: Calls) -> None:
    with np.errstate(all="ignore"):
        assume(is_tame(call := of(cell)))
        check32(call, useful=1.0)


@EVERY_CELL
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("T", [257, 1000])
def test_long_sequences(T: int, backwards: bool, cell: str) -> None:
    """The input products of 1,000 steps are many chunks: 256 KiB of them is 25 steps at B = 5, H = 31 in float64."""
    rng = np.random.default_rng(T)
    sizes = (5, T, 3, 31)
    check64(case(rng, *sizes, np.float64, cell=cell, backwards=backwards, has=FEATURES))
    small = dict(cell=cell, backwards=backwards, recurrent_scale=SMALL)
    check32(case(rng, *sizes, np.float32, **small, has=FEATURES), useful=1e-3)
    check32(case(rng, *sizes, np.float32, **small, has=("bias",)), useful=1e-3)


@EVERY_CELL
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("B", [1, 2, 3, 4, 5, 6, 7, 13, 64])
def test_large(B: int, dtype: Any, cell: str) -> None:
    """Several panels of units and every height of a tile."""
    scale = None if dtype == np.float64 else SMALL
    call = case(np.random.default_rng(B), B, 6, 40, 150, dtype, cell=cell, has=("bias", "mask"), recurrent_scale=scale)
    check64(call) if dtype == np.float64 else check32(call, useful=1e-2)


@EVERY_CELL
@quick
@given(cases(np.float64, B=st.integers(0, 5)), st.lists(st.booleans(), min_size=4, max_size=4))
def test_what_is_not_asked_for_is_not_returned(cell: str, of: Calls, asked: list[bool]) -> None:
    call, names = of(cell), ("sequences", "cells", "gates", "record")
    wanted = dict(zip(names, asked, strict=True)) | ({} if "c" in CELLS[cell].states else dict(cells=False))
    found, full = call.run(**wanted), call.run_all()
    assert_same_bits(found.h, full.h if wanted["sequences"] else full.states[0], "h")
    assert_same_bits(found.cells, full.cells if wanted["cells"] else None, "cells")
    assert_same_bits(found.gates, full.gates if wanted["gates"] else None, "gates")
    assert (found.record is not None) == wanted["record"]
    for ours, theirs in zip(found.states, full.states, strict=True):
        assert_same_bits(ours, theirs, "last")


@EVERY_CELL
@quick
@given(cases(np.float64, T=st.integers(1, 6), activations=st.sampled_from([("tanh", "sigmoid"), ("relu", "tanh")])))
def test_step_by_step(cell: str, of: Calls) -> None:
    """`step` has no dropout and goes forward; the last steps' states are written where they lie."""
    call = of(cell)
    for name in ("dropout", "recurrent_dropout"):
        call.arrays.pop(name, None)
    call.options["backwards"] = False
    oracle, packed, v = call.oracle(), call.packed(), call.call()
    functions = {name: v[name] for name in ("activation", "recurrent_activation")}
    reset_states = call.states() if v["reset_states"] is None else v["reset_states"]
    states: Any = tuple(s.copy() for s in call.states())
    for t in range(call.shape[1]):
        flags = {name: None if v[name] is None else v[name][:, t] for name in ("mask", "resets")}
        flags = {name: None if flag is None else np.ascontiguousarray(flag) for name, flag in flags.items()}
        x_t = np.ascontiguousarray(call.arrays["x"][:, t])
        found = engine.step(
            packed, x_t, states, **flags, reset_states=reset_states, **functions, gates=True, out=states
        )
        assert found.states[0] is states[0]
        for ours, theirs, name in zip(states, (oracle.h, oracle.c), "hc", strict=False):
            assert_close64(ours, theirs[:, t], name)
        assert_close64(found.gates, oracle.gates[:, t], "gates")


@EVERY_CELL
def test_step_leaves_its_arguments_alone(cell: str) -> None:
    rng = np.random.default_rng(0)
    call = case(rng, 3, 1, 4, 5, np.float64, cell=cell, has=("bias",))
    kept = [s.copy() for s in call.states()]
    engine.step(call.packed(), call.arrays["x"][:, 0], call.states(), resets=np.ones(3, bool))
    for ours, before in zip(call.states(), kept, strict=True):
        assert_same_bits(ours, before)


@EVERY_CELL
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reset_states_default_to_the_states(dtype: Any, cell: str) -> None:
    rng = np.random.default_rng(1)
    call = case(rng, 4, 6, 3, 5, dtype, cell=cell, has=("bias", "resets"))
    given = {f"reset_{letter}": s for letter, s in zip(call.letters, call.states(), strict=True)}
    found, wanted = numbers(call.run_all()), numbers(call.with_(**given).run_all())
    for name, ours in found.items():
        assert_same_bits(ours, wanted[name], name)


@EVERY_CELL
def test_no_bias_is_a_bias_of_zeros(cell: str) -> None:
    call = case(np.random.default_rng(2), 4, 6, 3, 17, np.float32, cell=cell)
    zeros = np.zeros(CELLS[cell].weight_shapes(3, 17)["bias"], np.float32)
    assert_same_bits(call.run().h, call.with_(bias=zeros).run().h)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["linear", "tanh"])
@pytest.mark.parametrize("K", [1, 5, 130])
@pytest.mark.parametrize("N", [0, 1, 3, 16, 33, 70, 129])
def test_product(N: int, K: int, activation: str, dtype: Any) -> None:
    """Each number is within (K + 2) eps of |bias| + |a| |matrix|, as any order of summation is; tanh adds 2 eps."""
    rng = np.random.default_rng([N, K])
    for shape in ((), (0,), (1,), (7,), (2, 3), (50,)):
        a = rng.normal(size=(*shape, K)).astype(dtype)
        matrix, bias = rng.normal(size=(K, N)).astype(dtype), rng.normal(size=N).astype(dtype)
        out = np.full((*shape, N), np.nan, dtype)
        found = engine.product(a, engine.pack_matrix(matrix), bias, activation, out=out)
        assert found is out
        exact = a.astype(np.longdouble) @ matrix.astype(np.longdouble) + bias
        eps = np.finfo(dtype).eps
        bound = (K + 2) * eps * (np.abs(a) @ np.abs(matrix) + np.abs(bias)) + 2 * eps
        exact = np.tanh(exact) if activation == "tanh" else exact
        assert (np.abs(found - exact) <= bound).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_product_of_no_features(dtype: Any) -> None:
    """A sum of nothing is 0: what is left is the bias."""
    bias, out = np.array([1, 2, 3], dtype), np.full((2, 3), np.nan, dtype)
    engine.product(np.zeros((2, 0), dtype), engine.pack_matrix(np.zeros((0, 3), dtype)), bias, out=out)
    np.testing.assert_array_equal(out, [bias, bias])
