"""The oracle against finite differences, and against the LSTM written once more, unit by unit, in plain Python."""

from __future__ import annotations

import math
from typing import Any

import equations
import numpy as np
import pytest

from everystep.cells import ACTIVATIONS

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


def inputs(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every float input of the oracle, by the name of its gradient."""
    shapes = dict(x=(B, T, I), h0=(B, H), c0=(B, H), kernel=(I, 4 * H), recurrent_kernel=(H, 4 * H), bias=(4 * H,))
    shapes |= dict(dropout=(4, B, I), recurrent_dropout=(4, B, H), reset_h=(B, H), reset_c=(B, H))
    return {name: rng.normal(0, 0.5, shape) for name, shape in shapes.items()}


def run(v: dict[str, np.ndarray], **options: Any) -> equations.Run:
    weights = {name: v[name] for name in ("kernel", "recurrent_kernel", "bias")}
    return equations.lstm(
        v["x"],
        (v["h0"], v["c0"]),
        weights,
        reset_states=(v["reset_h"], v["reset_c"]),
        dropout=v["dropout"],
        recurrent_dropout=v["recurrent_dropout"],
        **options,
    )


def away_from_kinks(found: equations.Run, activation: str, recurrent_activation: str) -> bool:
    """Whether no number that a finite difference moves comes near a kink."""

    def far(z: np.ndarray, name: str) -> bool:
        return all(np.abs(z - kink).min() > 100 * STEP for kink in KINKS.get(name, ()))

    def gates(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        zi, zf, zg, zo = np.split(z, 4, axis=-1)
        return zg, np.stack([zi, zf, zo])

    return all(
        far(gates(at["z"])[0], activation)
        and far(at["c_new"], activation)
        and far(gates(at["z"])[1], recurrent_activation)
        for at in found.tape
    )


def check_gradient(seed: list[int], options: dict[str, Any]) -> None:
    """Central differences, (L(v + s) - L(v - s)) / 2s with s = 1e-5, of a loss L that has a factor for every output.

    Their error is s^2 / 6 times the third derivative, plus the rounding of L, eps |L| / s: with derivatives up to a
    thousand times the largest gradient, below 200 s^2 = 2e-8 of that.
    """
    functions = {name: options.get(name, default) for name, default in FUNCTIONS.items()}
    for attempt in range(100):
        rng = np.random.default_rng([*seed, attempt])
        v = inputs(rng)
        found = run(v, **options)
        if away_from_kinks(found, **functions):
            break
    else:
        raise AssertionError("no numbers away from the kinks")
    d_h, d_c, d_gates, *d_states = (
        rng.normal(size=shape) for shape in ((B, T, H), (B, T, H), (B, T, 4, H), (B, H), (B, H))
    )

    def loss() -> float:
        out = run(v, **options)
        outputs = (out.h, out.c, out.gates, *out.states)
        return float(sum((d * y).sum() for d, y in zip((d_h, d_c, d_gates, *d_states), outputs, strict=True)))

    weights = {name: v[name] for name in ("kernel", "recurrent_kernel", "bias")}
    gradient = equations.lstm_gradient(
        found, v["x"], weights, d_h=d_h, d_c=d_c, d_gates=d_gates, d_states=(d_states[0], d_states[1]),
        dropout=v["dropout"], recurrent_dropout=v["recurrent_dropout"], **functions,
    )  # fmt: skip
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


FUNCTIONS = dict(activation="tanh", recurrent_activation="sigmoid")
MASK = np.array([[1, 0, 1, 1], [0, 1, 1, 0]], bool)
RESETS = np.array([[0, 0, 1, 0], [1, 0, 0, 1]], bool)  # also before a masked step, and before the first


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("resets", [None, RESETS], ids=["", "resets"])
@pytest.mark.parametrize("mask", [None, MASK], ids=["", "mask"])
def test_gradient(mask: np.ndarray | None, resets: np.ndarray | None, backwards: bool) -> None:
    check_gradient([backwards], dict(mask=mask, resets=resets, backwards=backwards))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gradient_of_every_activation(name: str) -> None:
    at = ACTIVATIONS.index(name)
    check_gradient([1, at], dict(mask=MASK, resets=RESETS, activation=name))
    check_gradient([2, at], dict(mask=MASK, resets=RESETS, recurrent_activation=name))


def test_every_activation_is_there() -> None:
    assert tuple(equations.ACTIVATIONS) == ACTIVATIONS


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


@pytest.mark.parametrize("backwards", [False, True])
def test_unit_by_unit(backwards: bool) -> None:
    """Against scalars and loops alone: no broadcasting, no matrix, no column order but the one written here."""
    v = inputs(np.random.default_rng(3))
    found = run(v, mask=MASK, resets=RESETS, backwards=backwards)
    W, R, bias = v["kernel"], v["recurrent_kernel"], v["bias"]
    for b in range(B):
        h, c = list(v["h0"][b]), list(v["c0"][b])
        order = range(T - 1, -1, -1) if backwards else range(T)
        for step, t in enumerate(order):
            if RESETS[b, t]:
                h, c = list(v["reset_h"][b]), list(v["reset_c"][b])
            gates = np.zeros((4, H))
            if MASK[b, t]:
                new_h, new_c = [], []
                for unit in range(H):
                    z = []
                    for gate in range(4):
                        column = gate * H + unit
                        sum_x = sum(v["x"][b, t, k] * v["dropout"][gate, b, k] * W[k, column] for k in range(I))
                        sum_h = sum(h[k] * v["recurrent_dropout"][gate, b, k] * R[k, column] for k in range(H))
                        z.append(bias[column] + sum_x + sum_h)
                    i, f, g, o = sigmoid(z[0]), sigmoid(z[1]), math.tanh(z[2]), sigmoid(z[3])
                    new_c.append(f * c[unit] + i * g)
                    new_h.append(o * math.tanh(new_c[unit]))
                    gates[:, unit] = i, f, g, o
                h, c = new_h, new_c
            for ours, theirs in ((found.h[b, step], h), (found.c[b, step], c), (found.gates[b, step], gates)):
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-14)
        np.testing.assert_allclose([s[b] for s in found.states], [h, c], rtol=0, atol=1e-14)
