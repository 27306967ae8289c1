"""The engine's gradients against the textbook loop's."""

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
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rounding import assert_within, gradient_errors

from everystep import engine
from everystep.cells import CELLS

quick = settings(deadline=None, derandomize=True, max_examples=examples(100))
ARRIVING = ("d_h", "d_cells", "d_gates", "last_h", "last_c")


def check64(call: Case, arriving: dict[str, Any]) -> None:
    found, wanted = call.gradients(arriving), call.oracle_gradients(call.oracle(), arriving)
    assert found.keys() == wanted.keys()
    for name, ours in found.items():
        assert_close64(ours, wanted[name], name)


def check32(call: Case, arriving: dict[str, Any], useful: float) -> None:
    """Within the bound of tests/rounding.py, which is itself at most `useful` of the largest entry."""
    doubled = call.doubled()
    d = {name: v.astype(np.float64) for name, v in arriving.items() if name != "d_states"}
    d["d_states"] = tuple(v.astype(np.float64) for v in arriving["d_states"])
    found, wanted = call.gradients(arriving), doubled.oracle_gradients(doubled.oracle(), d)
    errors = gradient_errors(call, d)
    assert found.keys() == wanted.keys()
    for name, ours in found.items():
        assert errors[name].max(initial=0) <= useful * max(1.0, np.abs(wanted[name]).max(initial=0)), name
        assert_within(ours, wanted[name], errors[name], name)


@EVERY_CELL
@quick
@given(cases(np.float64), st.sets(st.sampled_from(ARRIVING)), st.integers(0, 2**32 - 1))
def test_every_shape_and_option_float64(cell: str, of: Calls, without: set[str], seed: int) -> None:
    """`without`: what arrives as None."""
    call = of(cell)
    check64(call, call.arriving(np.random.default_rng(seed), tuple(without)))


@EVERY_CELL
@quick
@given(cases(np.float32, T=st.integers(0, 5), scale=0.3), st.integers(0, 2**32 - 1))
def test_every_shape_and_option_float32(cell: str, of: Calls, seed: int) -> None:
    call = of(cell)
    check32(call, call.arriving(np.random.default_rng(seed)), useful=1e-2)


@EVERY_CELL
@settings(quick, max_examples=examples(250))
@given(
    cases(np.float64, activations=any_activations, H=st.sampled_from([1, 3, 9]), B=st.just(2), T=st.just(3)),
    st.integers(0, 2**32 - 1),
)
def test_every_pair_of_activations(cell: str, of: Calls, seed: int) -> None:
    with np.errstate(all="ignore"):
        assume(is_tame(call := of(cell)))
        check64(call, call.arriving(np.random.default_rng(seed)))


@EVERY_CELL
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("T", [257, 1000])
def test_long_sequences(T: int, backwards: bool, cell: str) -> None:
    """Gradients of weights are gathered 256 rows at a time: at B = 5, over 6 and over 20 chunks."""
    rng = np.random.default_rng(T)
    for has in (FEATURES, ("bias",)):
        call = case(rng, 5, T, 3, 31, np.float64, cell=cell, backwards=backwards, has=has)
        check64(call, call.arriving(rng))


@EVERY_CELL
@pytest.mark.parametrize("B", [1, 3, 7, 64, 300])
def test_large(B: int, cell: str) -> None:
    """Several panels of units, every height of a tile, and a batch larger than a chunk of rows."""
    rng = np.random.default_rng(B)
    call = case(rng, B, 4, 40, 75, np.float64, cell=cell, has=("bias", "mask"))
    check64(call, call.arriving(rng))
    single = case(rng, B, 4, 40, 75, np.float32, cell=cell, has=("bias", "mask"), recurrent_scale=0.01)
    check32(single, single.arriving(rng), useful=1e-2)


@EVERY_CELL
def test_a_record_may_be_read_twice(cell: str) -> None:
    rng = np.random.default_rng(5)
    call = case(rng, 3, 5, 4, 7, np.float32, cell=cell, has=("bias", "mask", "resets", "dropout"))
    record, arriving = call.run_all().record, call.arriving(rng)
    first, second = call.gradients(arriving, record), call.gradients(arriving, record)
    for name, ours in first.items():
        assert_same_bits(ours, second[name], name)


@EVERY_CELL
def test_a_record_does_not_need_the_sequences(cell: str) -> None:
    rng = np.random.default_rng(6)
    call = case(rng, 3, 5, 4, 7, np.float64, cell=cell, has=("bias",))
    found = call.run(sequences=False, record=True)
    assert found.h.shape == (3, 7)
    arriving = call.arriving(rng)
    for name, ours in call.gradients(arriving, found.record).items():
        assert_same_bits(ours, call.gradients(arriving)[name], name)


@EVERY_CELL
def test_a_bias_of_zeros_has_a_gradient(cell: str) -> None:
    """A run without a bias gives one for it where one is passed, and none where none is."""
    rng = np.random.default_rng(7)
    call = case(rng, 3, 5, 4, 7, np.float64, cell=cell)
    record, arriving, weights = call.run_all().record, call.arriving(rng), call.weights()
    assert engine.run_backward(record, **weights, **arriving).bias is None
    zeros = np.zeros(CELLS[cell].weight_shapes(4, 7)["bias"])
    with_zeros = call.with_(bias=zeros)
    wanted = with_zeros.oracle_gradients(with_zeros.oracle(), arriving)
    assert_close64(engine.run_backward(record, **weights, bias=zeros, **arriving).bias, wanted["bias"], "bias")
