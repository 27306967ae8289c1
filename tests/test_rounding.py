"""The running bounds: by their formulas, and around the oracle when it computes in float32 itself."""

from __future__ import annotations

import numpy as np
import pytest
from engine_cases import EVERY_CELL, FEATURES, case, oracle_numbers
from rounding import EPS, FUNCTIONS, Rounded, assert_within, gradient_errors, value_errors


def test_formulas() -> None:
    """Sums are charged by their length when they end, whatever their grouping; products once."""
    a, b, c = (np.array(v) for v in ([[1.0, -2.0]], [[3.0], [5.0]], [7.0]))
    ra, rb, rc = Rounded(a, np.full((1, 2), 0.1)), Rounded(b), Rounded(c, np.array([0.2]))
    value, error = (rc + ra @ rb).closed()
    np.testing.assert_allclose(value, [[0.0]])
    # 0.1 (3 + 5) + 0.2 of the terms, eps (3 + 10) of two products, 2 eps (3 + 10 + 7) of three terms
    np.testing.assert_allclose(error, [[1.0 + EPS * 13 + 2 * EPS * 20]])
    value, error = (1 - rc * Rounded(np.array([-2.0]))).closed()
    np.testing.assert_allclose(value, [15.0])
    np.testing.assert_allclose(error, [0.4 + EPS * 14 + EPS * 15])
    whole, halves = Rounded(np.arange(6.0)).sum(0), Rounded(np.arange(2.0)).sum(0) + Rounded(np.arange(2.0, 6)).sum(0)
    np.testing.assert_allclose(whole.closed(), halves.closed())
    np.testing.assert_allclose(whole.closed()[1], 5 * EPS * 15)


def test_moves_compute_nothing() -> None:
    a = Rounded(np.array([1.0, 2.0]), np.array([0.1, 0.2]))
    moved = np.stack([np.where(np.array([True, False]), a, 0), a])
    np.testing.assert_array_equal(moved.value, [[1, 0], [1, 2]])
    np.testing.assert_array_equal(moved.error, [[0.1, 0], [0.1, 0.2]])
    zeros = np.zeros_like(a, shape=(3,))
    zeros[1:] = a
    np.testing.assert_array_equal((zeros + zeros).closed()[1], 2 * zeros.error + EPS * 2 * zeros.value)
    with pytest.raises(TypeError):
        np.cumsum(a)


def test_a_function_moves_with_its_argument() -> None:
    """relu at 0.05 with an error of 0.1 may be off by the 0.05 below it or the 0.1 above; its slope by all of it."""
    z = Rounded(np.array([0.05]), np.array([0.1]))
    np.testing.assert_allclose(FUNCTIONS["relu"](z).error, [0.1], atol=1e-30)
    assert FUNCTIONS["relu"].slope(z).error >= 1


@EVERY_CELL
def test_the_oracle_in_float32_stays_within(cell: str) -> None:
    """And the bounds are of some use: below 1e-4."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        call = case(rng, 3, 5, 4, 6, np.float32, cell=cell, has=FEATURES[seed % 7 :], scale=0.3)
        doubled, errors = call.doubled(), value_errors(call)
        run, exact = call.oracle(), doubled.oracle()
        for name, ours in oracle_numbers(run).items():
            assert_within(ours, oracle_numbers(exact)[name], errors[name], name)
        arriving = call.arriving(rng)
        wide = {name: d.astype(np.float64) for name, d in arriving.items() if name != "d_states"}
        wide["d_states"] = tuple(d.astype(np.float64) for d in arriving["d_states"])
        bounds, wanted = gradient_errors(call, wide), doubled.oracle_gradients(exact, wide)
        for name, ours in call.oracle_gradients(run, arriving).items():
            assert_within(ours, wanted[name], bounds[name], name)
        assert max(e.max(initial=0) for e in errors.values()) < 1e-4
        assert all(bounds[name].max(initial=0) < 1e-4 * max(1, np.abs(d).max()) for name, d in wanted.items())
