"""Runs side by side, `engine.run_together`: each is what it is alone, to the bit, whatever it is together with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from engine_cases import FEATURES, Case, assert_same_bits, case, numbers

from everystep import engine
from everystep.cells import CELLS
from everystep.errors import OptionError, ShapeError

ASKED = dict(gates=True, record=True)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = engine.engine_info()["num_threads"]
    yield
    engine.set_num_threads(before)


def arguments(call: Case, **asked: Any) -> dict[str, Any]:
    return dict(call.call(), packed=call.packed(), x=call.arrays["x"], states=call.states(), **asked)


def assert_together_is_alone(calls: list[Case]) -> None:
    rng = np.random.default_rng(0)
    together = engine.run_together([arguments(call, **ASKED) for call in calls])
    assert len(together) == len(calls)
    for call, found in zip(calls, together, strict=True):
        alone = call.run(**ASKED)
        for name, ours in numbers(found).items():
            assert_same_bits(ours, numbers(alone)[name], name)
        arriving = call.arriving(rng)
        wanted = call.gradients(arriving, alone.record)
        for name, ours in call.gradients(arriving, found.record).items():
            assert_same_bits(ours, wanted[name], name)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_two_directions(dtype: Any, n: int) -> None:
    """Of every cell, with fewer and more threads than runs: short, by rows, and by units."""
    engine.set_num_threads(n)
    for cell in CELLS:
        for shape in ((5, 7, 6, 37), (8, 30, 16, 64), (1, 16, 20, 330)):
            rng = np.random.default_rng(1)
            options = dict(cell=cell, has=FEATURES)
            assert_together_is_alone([case(rng, *shape, dtype, backwards=b, **options) for b in (False, True)])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_any_cells_shapes_and_dtypes(n: int) -> None:
    """None, one, and many; some with no rows or no steps."""
    engine.set_num_threads(n)
    rng = np.random.default_rng(2)
    shapes = ((2, 9, 3, 70), (13, 30, 16, 64), (0, 3, 2, 4), (3, 0, 2, 4), (40, 5, 7, 9))
    kinds = [(cell, shape) for shape in shapes for cell in CELLS]
    for dtypes in ((np.float32,), (np.float64,), (np.float32, np.float64)):
        calls = [
            case(rng, *shape, dtypes[at % len(dtypes)], cell=cell, has=FEATURES[at % 7 :], backwards=bool(at % 2))
            for at, (cell, shape) in enumerate(kinds)
        ]
        for which in (calls[:0], calls[:1], calls[3:6], calls):
            assert_together_is_alone(which)


def test_a_bad_call_among_good_ones_is_named() -> None:
    rng = np.random.default_rng(3)
    good, bad = (arguments(case(rng, 2, 3, 4, 5, cell="gru")) for _ in range(2))
    with pytest.raises(ShapeError, match=r"x must be of shape \(2, 3, 4\); got \(2, 3, 5\)"):
        engine.run_together([good, bad | dict(x=np.zeros((2, 3, 5)))])
    with pytest.raises(OptionError, match="activation must be one of"):
        engine.run_together([good, bad | dict(activation="tahn")])
    with pytest.raises(TypeError, match=r"^run_together: 'maks' is no argument of run$"):
        engine.run_together([good, bad | dict(maks=None)])
    with pytest.raises(TypeError, match=r"^run_together: a call lacks 'states', an argument of run$"):
        engine.run_together([good, {name: value for name, value in bad.items() if name != "states"}])
