"""How far the engine in float32 may lie from the oracle in float64: running error analysis, step by step.

Higham, "Accuracy and Stability of Numerical Algorithms" (2002), section 3.3. Beside every number v of the textbook
loop goes a bound e_v of the error of its float32 twin, to first order in eps:

    sum over n of a_k b_k     e = sum(|a_k| e_b + e_a |b_k|) + (n + 1) eps sum |a_k b_k|     in any order, fused or not
    a b                       e = |a| e_b + e_a |b| + eps |a b|
    y = f(z)                  e = the larger change of f from z to z - e_z and z + e_z, and f's own error

eps is twice the largest relative error of one operation, which leaves room for what is of second order. The change of f
is taken from f itself, so that kinks and saturation need no case of their own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equations
import numpy as np
from engine_cases import Array, Case

# The engine's own error of an activation y = f(x): eps (k |y| + m |x| + n), and what underflow takes.
# tanh and sigmoid are within 2 ulp, and 1 ulp is at most eps |y|. The others follow from their definitions, in the
# order in which engine/activations.h computes them: eps/2 for an operation, eps for a call of the C library.
OWN: dict[str, tuple[float, float, float]] = {
    "linear": (0, 0, 0),
    "sigmoid": (2, 0, 0),
    "tanh": (2, 0, 0),
    "relu": (0, 0, 0),
    "leaky_relu": (1, 0, 0),  # the constant, the product
    "relu6": (0, 0, 0),
    "elu": (1, 0, 0),
    "selu": (3, 0, 0),  # two constants, two products, expm1
    "celu": (1, 0, 0),
    "exponential": (1, 0, 0),
    "softplus": (3, 0, 0),  # exp(-|x|), log1p, the sum: all of one sign
    "softsign": (1, 0, 0),
    "squareplus": (1, 1, 2),  # the square root is at most |x| + 2, and is then added to x, perhaps of the other sign
    "soft_shrink": (1, 0, 0),
    "hard_shrink": (0, 0, 0),
    "tanh_shrink": (1, 2, 0),  # |tanh x| <= |x|
    "sparse_plus": (2, 0, 0),  # x + 1 is exact where it cancels
    "sparse_sigmoid": (1, 0, 0),
    "silu": (3, 0, 0),
    "gelu": (5, 0, 1),  # x phi(x) |x| eps: the argument of erfc is rounded
    "mish": (6, 0, 0),
    "log_sigmoid": (3, 0, 0),
    "hard_sigmoid": (1, 0, 1),
    "hard_sigmoid_keras2": (1, 0, 1),
    "hard_silu": (1, 1, 0),
    "hard_tanh": (0, 0, 0),
}


def own_error(name: str, x: Array, y: Array, dtype: Any) -> Array:
    info = np.finfo(dtype)
    k, m, n = OWN[name]
    return float(info.eps) * (k * np.abs(y) + m * np.abs(x) + n) + 2 * float(info.tiny) * (1 + np.abs(x))


def own_slope_error(name: str, x: Array, slope: Array, dtype: Any) -> Array:
    """Slopes are sums and products of numbers of the size of the slope or of 1, each within a few eps.

    mish has x (1 - t^2) besides, where t = tanh(softplus(x)) is 1 from x = 20 on, in both precisions.
    """
    size = np.abs(slope) + 1 + (np.minimum(np.abs(x), 20) if name == "mish" else 0)
    return 4 * float(np.finfo(dtype).eps) * size


class Errors(NamedTuple):
    h: Array
    c: Array
    gates: Array
    states: tuple[Array, Array]
    tape: list[dict[str, Any]]  # what `gradient_errors` goes on with, a dictionary per step


def _change(f: Any, z: Array, e: Array) -> Array:
    y = f(z)
    return np.maximum(np.abs(f(z + e) - y), np.abs(f(z - e) - y))


def value_errors(case: Case, run: equations.Run) -> Errors:
    """Bounds for what `case`, a call in float32, may be off from `run`, the oracle's in float64 of the same numbers."""
    eps = float(np.finfo(np.float32).eps)
    (B, T, I, H), v = case.shape, case.doubled().arrays
    s_name, a_name = case.options["recurrent_activation"], case.options["activation"]
    dropout = v.get("dropout", np.ones((4, B, I)))
    recurrent = v.get("recurrent_dropout", np.ones((4, B, H)))
    W, R = (np.split(np.abs(v[name]), 4, axis=-1) for name in ("kernel", "recurrent_kernel"))
    bias = np.split(np.abs(v.get("bias", np.zeros(4 * H))), 4)
    names = (s_name, s_name, a_name, s_name)
    e_h, e_c = np.zeros((B, H)), np.zeros((B, H))
    out_h, out_c, out_gates = np.zeros((B, T, H)), np.zeros((B, T, H)), np.zeros((B, T, 4, H))
    tape = []
    for step, at in enumerate(run.tape):
        e_h, e_c = np.where(at["again"], 0, e_h), np.where(at["again"], 0, e_c)
        e_gates, e_slopes, gates = [], [], []
        for k, z in enumerate(np.split(at["z"], 4, axis=-1)):
            x_part, h_part = np.abs(at["x"] * dropout[k]) @ W[k], np.abs(at["h"] * recurrent[k]) @ R[k]
            e_z = (e_h * np.abs(recurrent[k])) @ R[k] + (I + H + 3) * eps * (x_part + h_part + bias[k])
            f, slope = equations.ACTIVATIONS[names[k]]
            gates.append(f(z))
            e_gates.append(_change(f, z, e_z) + own_error(names[k], z, gates[-1], np.float32))
            e_slopes.append(_change(slope, z, e_z) + own_slope_error(names[k], z, slope(z), np.float32))
        (i, f_, g, o), (e_i, e_f, e_g, e_o) = gates, e_gates
        a, a_slope = equations.ACTIVATIONS[a_name]
        y, z = a(at["c_new"]), at["c_new"]
        e_new = np.abs(f_) * e_c + np.abs(at["c"]) * e_f + np.abs(i) * e_g + np.abs(g) * e_i
        e_new = e_new + eps * (np.abs(f_ * at["c"]) + 2 * np.abs(i * g))
        e_y = _change(a, z, e_new) + own_error(a_name, z, y, np.float32)
        e_slope = _change(a_slope, z, e_new) + own_slope_error(a_name, z, a_slope(z), np.float32)
        e_out = np.abs(o) * e_y + np.abs(y) * e_o + eps * np.abs(o * y)
        tape.append(
            dict(gates=gates, e_gates=e_gates, e_slopes=e_slopes, e_h=e_h, e_c=e_c, y=y, e_y=e_y, e_slope=e_slope)
        )
        e_h, e_c = np.where(at["seen"], e_out, e_h), np.where(at["seen"], e_new, e_c)
        out_h[:, step], out_c[:, step] = e_h, e_c
        out_gates[:, step] = np.where(at["seen"][..., None], np.stack(e_gates, axis=1), 0)
    return Errors(out_h, out_c, out_gates, (e_h, e_c), tape)


def gradient_errors(case: Case, run: equations.Run, errors: Errors, arriving: dict[str, Any]) -> dict[str, Array]:
    """Bounds for the gradients of `case`, by name, in the order of `equations.lstm_gradient`."""
    eps = float(np.finfo(np.float32).eps)
    (B, T, I, H), v = case.shape, case.doubled().arrays
    ds = equations.ACTIVATIONS[case.options["recurrent_activation"]][1]
    da = equations.ACTIVATIONS[case.options["activation"]][1]
    dropout = v.get("dropout", np.ones((4, B, I)))
    recurrent = v.get("recurrent_dropout", np.ones((4, B, H)))
    W, R = (np.split(v[name], 4, axis=-1) for name in ("kernel", "recurrent_kernel"))
    e = {name: np.zeros_like(value) for name, value in (v | dict(dropout=dropout, recurrent_dropout=recurrent)).items()}
    e |= {name: np.zeros((B, H)) for name in ("reset_h", "reset_c")} | {"bias": np.zeros(4 * H)}
    e_W, e_R, e_bias = (np.split(e[name], 4, axis=-1) for name in ("kernel", "recurrent_kernel", "bias"))
    sums = (B * T + 2) * eps  # of the sums over rows and steps
    dh, dc = arriving["d_states"]
    e_dh, e_dc = np.zeros((B, H)), np.zeros((B, H))
    for step in reversed(range(T)):
        at, off = run.tape[step], errors.tape[step]
        t, seen, again = at["t"], at["seen"], at["again"]
        (i, f, g, o), (e_i, e_f, e_g, e_o) = off["gates"], off["e_gates"]
        dh, dc = dh + arriving["d_h"][:, step], dc + arriving["d_cells"][:, step]
        e_dh, e_dc = e_dh + eps * np.abs(dh), e_dc + eps * np.abs(dc)
        carried = [np.where(seen, 0, value) for value in (dh, dc, e_dh, e_dc)]
        dh, dc, e_dh, e_dc = (np.where(seen, value, 0) for value in (dh, dc, e_dh, e_dc))
        arrive = np.where(seen[..., None], arriving["d_gates"][:, step], 0).swapaxes(0, 1)

        slope = da(at["c_new"])
        e_dc = e_dc + e_dh * np.abs(o * slope) + np.abs(dh) * (np.abs(slope) * e_o + np.abs(o) * off["e_slope"])
        e_dc = e_dc + 2 * eps * (np.abs(dc) + np.abs(dh * o * slope))
        dc = dc + dh * o * slope
        y, e_y = off["y"], off["e_y"]
        parts = ((dc, e_dc, g, e_g), (dc, e_dc, at["c"], off["e_c"]), (dc, e_dc, i, e_i), (dh, e_dh, y, e_y))
        dz, e_dz = [], []
        for k, z in enumerate(np.split(at["z"], 4, axis=-1)):
            d, e_d, by, e_by = parts[k]
            total, slope = arrive[k] + d * by, (da if k == 2 else ds)(z)
            e_total = e_d * np.abs(by) + np.abs(d) * e_by + eps * (np.abs(arrive[k]) + 2 * np.abs(d * by))
            dz.append(np.where(seen, total * slope, 0))
            e_k = e_total * np.abs(slope) + np.abs(total) * off["e_slopes"][k] + eps * np.abs(total * slope)
            e_dz.append(np.where(seen, e_k, 0))
        e_dc = carried[3] + e_dc * np.abs(f) + np.abs(dc) * e_f + eps * np.abs(dc * f)
        dh, dc, e_dh = carried[0], carried[1] + dc * f, carried[2]
        x, h, e_h = np.abs(at["x"]), np.abs(at["h"]), off["e_h"]
        for k in range(4):
            dx_k, dh_k = dz[k] @ W[k].T, dz[k] @ R[k].T
            long = (4 * H + 3) * eps * np.abs(dz[k]) + e_dz[k]
            e_dx, e_dh_k = long @ np.abs(W[k]).T, long @ np.abs(R[k]).T
            e["x"][:, t] += (e_dx + 4 * eps * np.abs(dx_k)) * np.abs(dropout[k])
            dh = dh + dh_k * recurrent[k]
            e_dh = e_dh + (e_dh_k + 4 * eps * np.abs(dh_k)) * np.abs(recurrent[k])
            e["dropout"][k] += e_dx * x + (T + 2) * eps * np.abs(dx_k) * x
            e["recurrent_dropout"][k] += e_dh_k * h + np.abs(dh_k) * (e_h + (T + 2) * eps * h)
            e_long = sums * np.abs(dz[k]) + e_dz[k]
            e_W[k] += (x * np.abs(dropout[k])).T @ e_long
            e_R[k] += (h * np.abs(recurrent[k])).T @ e_long + (e_h * np.abs(recurrent[k])).T @ np.abs(dz[k])
            e_bias[k] += e_long.sum(axis=0)
        for name, d, e_d in (("reset_h", dh, e_dh), ("reset_c", dc, e_dc)):
            e[name] += np.where(again, e_d + (T + 1) * eps * np.abs(d), 0)
        dh, dc, e_dh, e_dc = (np.where(again, 0, value) for value in (dh, dc, e_dh, e_dc))
    return e | dict(h0=e_dh, c0=e_dc)


def assert_within(ours: Array, oracle: Array, error: Array, name: str) -> None:
    assert ours.shape == oracle.shape, name
    assert ours.dtype == np.float32, name
    off = np.abs(ours.astype(np.float64) - oracle)
    bad = ~(off <= error + 1e-30)  # also where NaN; the constant is for what underflows
    assert not bad.any(), f"{name}: {bad.sum()} of {bad.size} out of bounds, first {off[bad][0]} > {error[bad][0]}"
