"""The engine's memory: steps add nothing to it, and a call's scratch memory serves the next."""

from __future__ import annotations

import os
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest
from engine_cases import EVERY_CELL, FEATURES, assert_same_bits, case

from everystep import engine


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in /proc")
@EVERY_CELL
def test_ten_thousand_steps_in_constant_memory(cell: str) -> None:
    """Python's own allocations do not grow, and the process stays within one mebibyte: 105 bytes a step."""
    call = case(np.random.default_rng(8), 2, 1, 8, 33, np.float32, cell=cell, has=("bias",))
    packed, x_t = call.packed(), np.ascontiguousarray(call.arrays["x"][:, 0])
    states: Any = tuple(s.copy() for s in call.states())

    def steps(n: int) -> None:
        for _ in range(n):
            engine.step(packed, x_t, states, out=states)

    tracemalloc.start()
    try:
        steps(3_000)  # Python keeps up to 2,000 freed tuples of a size to use again
        before, resident_before = tracemalloc.get_traced_memory()[0], resident()
        steps(10_000)
        assert tracemalloc.get_traced_memory()[0] - before < 2_000
        assert resident() - resident_before < 1 << 20
    finally:
        tracemalloc.stop()


@EVERY_CELL
def test_a_large_call_after_a_small_one_and_back(cell: str) -> None:
    """The scratch memory grows and is used again."""
    rng = np.random.default_rng(9)
    small, large = (
        case(rng, 2, 3, 4, 5, np.float64, cell=cell, has=FEATURES),
        case(rng, 9, 40, 30, 90, np.float64, cell=cell, has=FEATURES),
    )
    wanted = [call.run().h for call in (small, large)]
    for _ in range(3):
        for call, theirs in zip((small, large), wanted, strict=True):
            assert_same_bits(call.run().h, theirs)
