"""The oracle against finite differences, and against each cell written once more, unit by unit, in plain Python."""

from __future__ import annotations

import math
from typing import Any

import equations
import numpy as np
import pytest

from everystep.cells import ACTIVATIONS, CELLS

B, T, I, H = 2, 4, 2, 2

# Where an activation or its slope jumps; everywhere else it has three derivatives.
KINKS = {
    "relu": (0,),
    "leaky_relu": (0,),
    "relu6": (0, 6),
    "elu": (0,),
    "selu": (0,),
    "celu": (0,),
    "softsign": (0,),
    "soft_shrink": (-0.5, 0.5),
    "hard_shrink": (-0.5, 0.5),
    "sparse_plus": (-1, 1),
    "sparse_sigmoid": (-1, 1),
    "hard_sigmoid": (-3, 3),
    "hard_sigmoid_keras2": (-2.5, 2.5),
    "hard_silu": (-3, 3),
    "hard_tanh": (-1, 1),
}
STEP = 1e-5


def inputs(rng: np.random.Generator, cell: str) -> dict[str, np.ndarray]:
    """Every float input of the oracle, by the name of its gradient."""
    G, states = len(CELLS[cell].gates), CELLS[cell].states
    shapes = dict(x=(B, T, I), dropout=(G, B, I), recurrent_dropout=(G, B, H), **CELLS[cell].weight_shapes(I, H))
    shapes |= {name: (B, H) for s in states for name in (f"{s}0", f"reset_{s}")}
    return {name: rng.normal(0, 0.5, shape) for name, shape in shapes.items()}


def run(cell: str, v: dict[str, np.ndarray], **options: Any) -> equations.Run:
    states = CELLS[cell].states
    return equations.run(
        cell,
        v["x"],
        [v[f"{s}0"] for s in states],
        {name: v[name] for name in ("kernel", "recurrent_kernel", "bias")},
        reset_states=[v[f"reset_{s}"] for s in states],
        dropout=v["dropout"],
        recurrent_dropout=v["recurrent_dropout"],
        **options,
    )


def away_from_kinks(cell: str, v: dict[str, np.ndarray], options: dict[str, Any]) -> bool:
    """Whether no number that a finite difference moves comes near a kink."""
    met = []

    def watched(name: str, f: equations.Activation) -> equations.Activation:
        def value(z: np.ndarray) -> np.ndarray:
            met.extend(np.abs(z - kink).min() for kink in KINKS.get(name, ()))
            return f(z)

        return f._replace(value=value)

    run(cell, v, **options, activations={name: watched(name, f) for name, f in equations.ACTIVATIONS.items()})
    return min(met, default=1) > 100 * STEP


def check_gradient(cell: str, seed: list[int], options: dict[str, Any]) -> None:
    """Central differences, (L(v + s) - L(v - s)) / 2s with s = 1e-5, of a loss L that has a factor for every output.

    Their error is s^2 / 6 times the third derivative, plus the rounding of L, eps |L| / s: with derivatives up to a
    thousand times the largest gradient, below 200 s^2 = 2e-8 of that.
    """
    for attempt in range(100):
        rng = np.random.default_rng([*seed, attempt])
        v = inputs(rng, cell)
        if away_from_kinks(cell, v, options):
            break
    else:
        raise AssertionError("no numbers away from the kinks")
    found = run(cell, v, **options)
    d_h, d_c, d_gates, *d_states = (
        None if y is None else rng.normal(size=y.shape) for y in (found.h, found.c, found.gates, *found.states)
    )

    def loss() -> float:
        out = run(cell, v, **options)
        pairs = zip((d_h, d_c, d_gates, *d_states), (out.h, out.c, out.gates, *out.states), strict=True)
        return float(sum((d * y).sum() for d, y in pairs if d is not None))

    gradient = equations.gradient(found, d_h=d_h, d_c=d_c, d_gates=d_gates, d_states=d_states)
    assert gradient.keys() == v.keys()
    for name, value in v.items():
        by_difference = np.empty_like(value)
        for at in np.ndindex(value.shape):
            kept = value[at]
            value[at] = kept + STEP
            above = loss()
            value[at] = kept - STEP
            below = loss()
            value[at] = kept
            by_difference[at] = (above - below) / (2 * STEP)
        np.testing.assert_allclose(
            gradient[name], by_difference, rtol=0, atol=2e-8 * max(1, np.abs(by_difference).max()), err_msg=name
        )


EVERY_CELL = pytest.mark.parametrize("cell", CELLS)
MASK = np.array([[1, 0, 1, 1], [0, 1, 1, 0]], bool)
RESETS = np.array([[0, 0, 1, 0], [1, 0, 0, 1]], bool)  # also before a masked step, and before the first


def test_every_cell_and_activation_is_there() -> None:
    assert tuple(equations.CELLS) == tuple(CELLS)
    assert tuple(equations.ACTIVATIONS) == ACTIVATIONS


@EVERY_CELL
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("resets", [None, RESETS], ids=["", "resets"])
@pytest.mark.parametrize("mask", [None, MASK], ids=["", "mask"])
def test_gradient(mask: np.ndarray | None, resets: np.ndarray | None, backwards: bool, cell: str) -> None:
    check_gradient(cell, [backwards], dict(mask=mask, resets=resets, backwards=backwards))


@EVERY_CELL
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gradient_of_every_activation(name: str, cell: str) -> None:
    at = ACTIVATIONS.index(name)
    check_gradient(cell, [1, at], dict(mask=MASK, resets=RESETS, activation=name))
    if cell != "simple":
        check_gradient(cell, [2, at], dict(mask=MASK, resets=RESETS, recurrent_activation=name))


@EVERY_CELL
def test_what_is_left_out_is_0_and_dropout_is_1(cell: str) -> None:
    """Bias, resets, dropouts, and what does not arrive: the same values and gradients as from zeros and ones."""
    v = inputs(np.random.default_rng(2), cell)
    v["bias"][...], v["dropout"][...], v["recurrent_dropout"][...] = 0, 1, 1
    states = [v[f"{s}0"] for s in CELLS[cell].states]
    weights = {name: v[name] for name in ("kernel", "recurrent_kernel")}
    less, full = equations.run(cell, v["x"], states, weights), run(cell, v)
    np.testing.assert_allclose(less.gates, full.gates, rtol=0, atol=1e-15)
    ones = dict(d_h=np.ones((B, T, H)))
    zeros = dict(
        d_c=np.zeros((B, T, H)), d_gates=np.zeros_like(full.gates), d_states=[np.zeros((B, H)) for _ in states]
    )
    found, wanted = equations.gradient(less, **ones), equations.gradient(full, **ones, **zeros)
    assert wanted.keys() - found.keys() == {"bias", "dropout", "recurrent_dropout"}
    for name, d in found.items():
        np.testing.assert_allclose(d, wanted[name], rtol=0, atol=1e-14, err_msg=name)


# ---- The cells once more, unit by unit, in scalars ----
#
# Each is given xW(k, u), the part of x and its bias in unit u of gate k, and hR(k, u, h), that of h and, where it has
# one, of its own bias. It returns the new states and the gates.


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def lstm(xW: Any, hR: Any, h: list[float], c: list[float]) -> Any:
    i, f, o = ([sigmoid(xW(k, u) + hR(k, u, h)) for u in range(H)] for k in (0, 1, 3))
    g = [math.tanh(xW(2, u) + hR(2, u, h)) for u in range(H)]
    new_c = [f[u] * c[u] + i[u] * g[u] for u in range(H)]
    return ([o[u] * math.tanh(new_c[u]) for u in range(H)], new_c), (i, f, g, o)


def gru(xW: Any, hR: Any, h: list[float]) -> Any:
    z, r = ([sigmoid(xW(k, u) + hR(k, u, h)) for u in range(H)] for k in (0, 1))
    g = [math.tanh(xW(2, u) + r[u] * hR(2, u, h)) for u in range(H)]
    return ([z[u] * h[u] + (1 - z[u]) * g[u] for u in range(H)],), (z, r, g)


def gru_reset_before(xW: Any, hR: Any, h: list[float]) -> Any:
    z, r = ([sigmoid(xW(k, u) + hR(k, u, h)) for u in range(H)] for k in (0, 1))
    g = [math.tanh(xW(2, u) + hR(2, u, [r[k] * h[k] for k in range(H)])) for u in range(H)]
    return ([z[u] * h[u] + (1 - z[u]) * g[u] for u in range(H)],), (z, r, g)


def simple(xW: Any, hR: Any, h: list[float]) -> Any:
    new_h = [math.tanh(xW(0, u) + hR(0, u, h)) for u in range(H)]
    return (new_h,), (new_h,)


IN_SCALARS = dict(lstm=lstm, gru=gru, gru_reset_before=gru_reset_before, simple=simple)


@EVERY_CELL
@pytest.mark.parametrize("backwards", [False, True])
def test_unit_by_unit(backwards: bool, cell: str) -> None:
    """Against scalars and loops alone: no broadcasting, no matrix, no column order but the one written here."""
    v, letters = inputs(np.random.default_rng(3), cell), CELLS[cell].states
    found = run(cell, v, mask=MASK, resets=RESETS, backwards=backwards)
    W, R, biases = v["kernel"], v["recurrent_kernel"], v["bias"].reshape(-1, len(CELLS[cell].gates) * H)
    for b in range(B):
        states = [list(v[f"{s}0"][b]) for s in letters]
        for step, t in enumerate(range(T - 1, -1, -1) if backwards else range(T)):

            def xW(k: int, u: int, b: int = b, t: int = t) -> float:
                terms = (v["x"][b, t, i] * v["dropout"][k, b, i] * W[i, k * H + u] for i in range(I))
                return float(biases[0, k * H + u] + sum(terms))

            def hR(k: int, u: int, h: list[float], b: int = b) -> float:
                terms = (h[i] * v["recurrent_dropout"][k, b, i] * R[i, k * H + u] for i in range(H))
                return float(sum(terms) + (biases[1, k * H + u] if len(biases) > 1 else 0))

            if RESETS[b, t]:
                states = [list(v[f"reset_{s}"][b]) for s in letters]
            gates = np.zeros((len(CELLS[cell].gates), H))
            if MASK[b, t]:
                states, gates = IN_SCALARS[cell](xW, hR, *states)
            for ours, theirs in zip((found.h, found.c), states, strict=False):
                np.testing.assert_allclose(ours[b, step], theirs, rtol=0, atol=1e-14)
            np.testing.assert_allclose(found.gates[b, step], gates, rtol=0, atol=1e-14)
        np.testing.assert_allclose([s[b] for s in found.states], states, rtol=0, atol=1e-14)
