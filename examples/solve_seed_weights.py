"""Finds weights of a one-unit LSTM with which the tutorial's four models print the tutorial's own numbers.

    python examples/solve_seed_weights.py            (needs SciPy and a CPU with AVX-512; under a minute)

The unknowns are kernel (1,4) and recurrent_kernel (1,4), columns in Keras's order i, f, g, o. What every fresh Keras
LSTM of one unit has is kept: a kernel within Glorot's uniform bound, a recurrent kernel of norm 1 (orthogonal), and the
bias (0, 1, 0, 0) of `unit_forget_bias`. At most four numbers are printed, which with the norm makes five equations for
eight unknowns: there are many solutions, and none is *the* tutorial's.

1. In float64: least squares on the printed numbers, from random starts, until they fit.
2. In float32, where a printed number is often a single float: weights a few units in the last place away are tried, and
   the first kept with which the engine prints every digit on each of its instruction sets.

The result is printed as literals, for `seed_cases.py`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import numpy as np
from scipy.optimize import least_squares
from seed_cases import BIAS, CASES, DATA, Array, Case, run

GLOROT_LIMIT = np.sqrt(6 / (1 + 4))  # fan in 1, fan out 4
INSTRUCTION_SETS = ("baseline", "avx2", "avx512")
TRIED, AROUND = 2000, 6  # float32 weights tried at a time, up to so many units in the last place away


def lstm(kernel: Array, recurrent_kernel: Array) -> tuple[Array, Array]:
    """h and c at every step of DATA, (T) each: the textbook loop for one unit, in float64."""
    h = c = 0.0
    hs, cs = [], []
    for x in DATA.ravel():
        z_i, z_f, z_g, z_o = x * kernel + h * recurrent_kernel + BIAS
        i, f, o = (1 / (1 + np.exp(-z)) for z in (z_i, z_f, z_o))
        c = f * c + i * np.tanh(z_g)
        h = o * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.array(hs), np.array(cs)


def split(unknowns: Array) -> tuple[Array, Array]:
    """The kernel, and the recurrent kernel made of norm 1."""
    return unknowns[:4], unknowns[4:] / np.linalg.norm(unknowns[4:])


def misfit(unknowns: Array, case: Case) -> Array:
    """Computed less printed numbers, in the order in which they are printed."""
    h, c = lstm(*split(unknowns))
    sequences, state = "return_sequences" in case.call, "return_state" in case.call
    computed = [*(h if sequences else h[-1:]), *([h[-1], c[-1]] if state else [])]
    return np.array(computed) - [float(number) for number in re.findall(r"-?\d+\.\d+", case.printed)]


def solve(case: Case, rng: np.random.Generator) -> Array:
    """The eight unknowns in float64, from random starts such as Keras would draw."""
    while True:
        start = np.concatenate([rng.uniform(-GLOROT_LIMIT, GLOROT_LIMIT, 4), rng.normal(size=4)])
        bounds = np.array([GLOROT_LIMIT] * 4 + [10.0] * 4)
        found = least_squares(misfit, start, bounds=(-bounds, bounds), args=(case,), xtol=1e-15, ftol=1e-15, gtol=1e-15)
        if np.abs(found.fun).max() < 1e-9:
            return np.concatenate(split(found.x))


def neighbours(solution: Array, rng: np.random.Generator) -> Array:
    """(N,8) float32, the solution first and then others around it."""
    near = solution.astype(np.float32)
    away = rng.integers(-AROUND, AROUND + 1, size=(TRIED, 8))
    away[0] = 0
    return (near + away * np.spacing(np.abs(near))).astype(np.float32)


def prints_as_the_tutorial(number: int, candidates: Array) -> Array:
    """(N) bool: which candidates print every digit on this process's instruction set."""
    case = CASES[number]
    found = []
    for candidate in candidates:
        kernel, recurrent_kernel = np.split(candidate, 2)
        found.append(run(case._replace(kernel=kernel, recurrent_kernel=recurrent_kernel), "everystep").printed)
    return np.array([printed == case.printed for printed in found])


def passing(number: int, candidates: Array) -> Array:
    """Those that print every digit on all instruction sets, each asked in a process of its own."""
    for instruction_set in INSTRUCTION_SETS:
        asked = json.dumps([number, candidates.tolist()])
        environment = os.environ | {"EVERYSTEP_INSTRUCTION_SET": instruction_set}
        command = [sys.executable, __file__, "--check"]
        done = subprocess.run(command, input=asked, env=environment, capture_output=True, check=True, text=True)
        candidates = candidates[np.array(json.loads(done.stdout), bool)]
    return candidates


def main() -> None:
    if "--check" in sys.argv:
        number, candidates = json.load(sys.stdin)
        json.dump(prints_as_the_tutorial(number, np.array(candidates, np.float32)).tolist(), sys.stdout)
        return
    rng = np.random.default_rng(2013)
    for number, case in enumerate(CASES):
        found = np.empty((0, 8))
        while not len(found):
            found = passing(number, neighbours(solve(case, rng), rng))
        kernel, recurrent_kernel = ([float(str(w)) for w in half] for half in np.split(found[0], 2))
        print(f"case {number + 1}: {len(found)} of {TRIED} print every digit\n  {kernel=}\n  {recurrent_kernel=}")


if __name__ == "__main__":
    main()
