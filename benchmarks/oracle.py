"""What the results must be: those of the textbook loop in tests/equations, in float64."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from problem import Problem

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

import equations

RETURNED = ("cells", "gates")  # options that ask for what the textbook loop always returns


def reference(p: Problem, gradients: bool = True) -> dict[str, np.ndarray]:
    x, d_h, *others = (array.astype(np.float64) for array in (p.x, p.d_h, *p.states, *p.weights))
    states, weights = others[: len(p.states)], others[len(p.states) :]
    names = (name.removeprefix("d_") for name in p.names[-len(weights) :])
    options = {name: value for name, value in p.options.items() if name not in RETURNED}
    arriving = {"d_c" if name == "d_cells" else name: d for name, d in p.arriving.items()}
    out = equations.run(p.layer.cell.name, x, states, dict(zip(names, weights, strict=True)), **options)
    if not gradients:
        return {"h": out.h}
    found = equations.gradient(out, d_h=d_h, **arriving)
    return {"h": out.h} | {name: found[name.removeprefix("d_")] for name in p.names[1:]}


def check(what: str, p: Problem, gradients: bool, results: Mapping[str, Any], truth: Mapping[str, np.ndarray]) -> None:
    """Stops at what computes something else.

    A sum of n rounded products is off by at most about n epsilon of the sum of their sizes; n is I + H in a step, and
    the gradients of the weights sum over B T of these.
    """
    tolerance = np.finfo(np.float32).eps * (p.shape.I + p.shape.H + p.shape.B * p.shape.T)
    for name in p.names if gradients else p.names[:1]:
        if results[name].shape != truth[name].shape:
            raise SystemExit(f"{what} at {p.shape}: {name} is {results[name].shape}, not {truth[name].shape}")
        error = np.abs(results[name] - truth[name]).max() / np.abs(truth[name]).max()
        if not error <= tolerance:
            raise SystemExit(f"{what} disagrees at {p.shape}: {name} is off by {error:.1e} (allowed: {tolerance:.1e})")
