"""The textbook loop in NumPy, and its gradient by hand: the oracle of the engine.

Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997), with the forget gate of Gers, Schmidhuber and
Cummins, "Learning to Forget" (2000). Columns of the kernels in Keras's order: i, f, g, o.

    z_t = x_t W + h_{t-1} R + b                  (B,4H), split into z_i z_f z_g z_o
    i = s(z_i)   f = s(z_f)   g = a(z_g)   o = s(z_o)
    c_t = f * c_{t-1} + i * g
    h_t = o * a(c_t)

s is the recurrent activation and a the activation. A masked step carries h and c; a reset puts the row's
reset state in the place of the carried one before the step, also when the step is masked.
B batch, T time steps, I input features, H units, G gates. Slow and meant to be: one step a line of algebra.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


class Run(NamedTuple):
    h: Array  # (B,T,H) the carried h at every step, in processing order
    c: Array  # (B,T,H)
    gates: Array  # (B,T,4,H) after activation, 0 on masked steps
    states: tuple[Array, Array]  # the last h and c, (B,H)
    tape: list[dict[str, Array]]  # what the gradient reads, a dictionary per step


def _columns(z: Array) -> list[Array]:
    return np.split(z, 4, axis=-1)


def _preactivation(x: Array, h: Array, weights: dict[str, Array], dropout: Array, recurrent_dropout: Array) -> Array:
    """z (B,4H); dropout (4,B,I) and recurrent_dropout (4,B,H) hold one mask for each gate."""
    W, R = _columns(weights["kernel"]), _columns(weights["recurrent_kernel"])
    z = [(x * dropout[k]) @ W[k] + (h * recurrent_dropout[k]) @ R[k] for k in range(4)]
    return np.concatenate(z, axis=-1) + weights["bias"]


def lstm(
    x: Array,
    states: tuple[Array, Array],
    weights: dict[str, Array],
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    reset_states: tuple[Array, Array] | None = None,
    dropout: Array | None = None,
    recurrent_dropout: Array | None = None,
    backwards: bool = False,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
) -> Run:
    """x (B,T,I), states ((B,H),(B,H)), mask and resets (B,T) of bool, aligned with x."""
    (B, T, I), H = x.shape, states[0].shape[1]
    s, a = ACTIVATIONS[recurrent_activation][0], ACTIVATIONS[activation][0]
    mask = np.ones((B, T), bool) if mask is None else mask
    resets = np.zeros((B, T), bool) if resets is None else resets
    reset_states = states if reset_states is None else reset_states
    dropout = np.ones((4, B, I), x.dtype) if dropout is None else dropout
    recurrent_dropout = np.ones((4, B, H), x.dtype) if recurrent_dropout is None else recurrent_dropout
    out_h, out_c, out_gates = (np.zeros((B, T, *rest), x.dtype) for rest in ((H,), (H,), (4, H)))
    tape = []
    h, c = states
    for step, t in enumerate(reversed(range(T)) if backwards else range(T)):
        again = resets[:, t, None]
        h, c = np.where(again, reset_states[0], h), np.where(again, reset_states[1], c)
        z = _preactivation(x[:, t], h, weights, dropout, recurrent_dropout)
        zi, zf, zg, zo = _columns(z)
        i, f, g, o = s(zi), s(zf), a(zg), s(zo)
        c_new = f * c + i * g
        h_new = o * a(c_new)
        seen = mask[:, t, None]
        tape.append(dict(t=np.array(t), x=x[:, t], h=h, c=c, z=z, c_new=c_new, seen=seen, again=again))
        h, c = np.where(seen, h_new, h), np.where(seen, c_new, c)
        out_h[:, step], out_c[:, step] = h, c
        out_gates[:, step] = np.where(seen[..., None], np.stack([i, f, g, o], axis=1), 0)
    return Run(out_h, out_c, out_gates, (h, c), tape)


def lstm_gradient(
    run: Run,
    x: Array,
    weights: dict[str, Array],
    *,
    d_h: Array,
    d_c: Array,
    d_gates: Array,
    d_states: tuple[Array, Array],
    dropout: Array | None = None,
    recurrent_dropout: Array | None = None,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
) -> dict[str, Array]:
    """The gradient of sum(d_h h) + sum(d_c c) + sum(d_gates gates) + sum(d_states states), by the chain rule."""
    (B, T, I), H = x.shape, d_h.shape[2]
    s, ds = ACTIVATIONS[recurrent_activation]
    a, da = ACTIVATIONS[activation]
    dropout = np.ones((4, B, I), x.dtype) if dropout is None else dropout
    recurrent_dropout = np.ones((4, B, H), x.dtype) if recurrent_dropout is None else recurrent_dropout
    W, R = _columns(weights["kernel"]), _columns(weights["recurrent_kernel"])
    grad = {name: np.zeros_like(value) for name, value in weights.items()}
    dW, dR = _columns(grad["kernel"]), _columns(grad["recurrent_kernel"])  # views, filled in place
    grad |= dict(x=np.zeros_like(x), dropout=np.zeros_like(dropout), recurrent_dropout=np.zeros_like(recurrent_dropout))
    grad |= dict(reset_h=np.zeros((B, H), x.dtype), reset_c=np.zeros((B, H), x.dtype))
    dh, dc = d_states
    for step in reversed(range(T)):
        at = run.tape[step]
        t, h, c, c_new, seen, again = (at[name] for name in ("t", "h", "c", "c_new", "seen", "again"))
        zi, zf, zg, zo = _columns(at["z"])
        i, f, g, o = s(zi), s(zf), a(zg), s(zo)
        dh, dc = dh + d_h[:, step], dc + d_c[:, step]
        carried = np.where(seen, 0, dh), np.where(seen, 0, dc)  # a masked step hands its gradient on as it is
        dh, dc = np.where(seen, dh, 0), np.where(seen, dc, 0)
        di, df, dg, do = np.where(seen[..., None], d_gates[:, step], 0).swapaxes(0, 1)
        dc = dc + dh * o * da(c_new)
        dz = [
            (di + dc * g) * ds(zi),
            (df + dc * c) * ds(zf),
            (dg + dc * i) * da(zg),
            (do + dh * a(c_new)) * ds(zo),
        ]
        dh, dc = carried[0], carried[1] + dc * f
        for k in range(4):
            dx_k, dh_k = dz[k] @ W[k].T, dz[k] @ R[k].T
            grad["x"][:, t] += dx_k * dropout[k]
            dh = dh + dh_k * recurrent_dropout[k]
            grad["dropout"][k] += dx_k * at["x"]
            grad["recurrent_dropout"][k] += dh_k * h
            dW[k] += (at["x"] * dropout[k]).T @ dz[k]
            dR[k] += (h * recurrent_dropout[k]).T @ dz[k]
        grad["bias"] += np.concatenate(dz, axis=-1).sum(axis=0)
        grad["reset_h"] += np.where(again, dh, 0)
        grad["reset_c"] += np.where(again, dc, 0)
        dh, dc = np.where(again, 0, dh), np.where(again, 0, dc)
    return grad | dict(h0=dh, c0=dc)


# Activations: each with its derivative, both as functions of the number before the activation.

_erf = np.vectorize(math.erf, otypes=[float])
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def _sigmoid(z: Array) -> Array:
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


def _softplus(z: Array) -> Array:
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def _inside(z: Array, low: float, high: float) -> Array:
    return ((z > low) & (z < high)).astype(z.dtype)


def _expm1(z: Array) -> Array:
    return np.expm1(np.minimum(z, 0))


def _mish_slope(z: Array) -> Array:
    t = np.tanh(_softplus(z))
    return t + z * (1 - t * t) * _sigmoid(z)


def _gelu_slope(z: Array) -> Array:
    return 0.5 * (1 + _erf(z / math.sqrt(2))) + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


Function = Callable[[Array], Array]
ACTIVATIONS: dict[str, tuple[Function, Function]] = {
    "linear": (lambda z: z, np.ones_like),
    "sigmoid": (_sigmoid, lambda z: _sigmoid(z) * _sigmoid(-z)),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: _inside(z, 0, np.inf)),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.2 * z), lambda z: np.where(z > 0, 1, 0.2)),
    "relu6": (lambda z: np.clip(z, 0, 6), lambda z: _inside(z, 0, 6)),
    "elu": (lambda z: np.where(z > 0, z, _expm1(z)), lambda z: np.where(z > 0, 1, np.exp(np.minimum(z, 0)))),
    "selu": (
        lambda z: _SELU_SCALE * np.where(z > 0, z, _SELU_ALPHA * _expm1(z)),
        lambda z: _SELU_SCALE * np.where(z > 0, 1, _SELU_ALPHA * np.exp(np.minimum(z, 0))),
    ),
    "celu": (lambda z: np.where(z > 0, z, _expm1(z)), lambda z: np.where(z > 0, 1, np.exp(np.minimum(z, 0)))),
    "exponential": (np.exp, np.exp),
    "softplus": (_softplus, _sigmoid),
    "softsign": (lambda z: z / (1 + np.abs(z)), lambda z: 1 / (1 + np.abs(z)) ** 2),
    "squareplus": (lambda z: (z + np.sqrt(z * z + 4)) / 2, lambda z: (1 + z / np.sqrt(z * z + 4)) / 2),
    "soft_shrink": (
        lambda z: np.sign(z) * np.maximum(np.abs(z) - 0.5, 0),
        lambda z: _inside(-np.abs(z), -np.inf, -0.5),
    ),
    "hard_shrink": (lambda z: np.where(np.abs(z) > 0.5, z, 0), lambda z: _inside(-np.abs(z), -np.inf, -0.5)),
    "tanh_shrink": (lambda z: z - np.tanh(z), lambda z: np.tanh(z) ** 2),
    "sparse_plus": (
        lambda z: np.where(z <= -1, 0, np.where(z >= 1, z, (z + 1) ** 2 / 4)),
        lambda z: np.clip((z + 1) / 2, 0, 1),
    ),
    "sparse_sigmoid": (lambda z: np.clip((z + 1) / 2, 0, 1), lambda z: 0.5 * _inside(z, -1, 1)),
    "silu": (lambda z: z * _sigmoid(z), lambda z: _sigmoid(z) * (1 + z * _sigmoid(-z))),
    "gelu": (lambda z: z * 0.5 * (1 + _erf(z / math.sqrt(2))), _gelu_slope),
    "mish": (lambda z: z * np.tanh(_softplus(z)), _mish_slope),
    "log_sigmoid": (lambda z: -_softplus(-z), lambda z: _sigmoid(-z)),
    "hard_sigmoid": (lambda z: np.clip(z / 6 + 0.5, 0, 1), lambda z: _inside(z, -3, 3) / 6),
    "hard_sigmoid_keras2": (lambda z: np.clip(0.2 * z + 0.5, 0, 1), lambda z: 0.2 * _inside(z, -2.5, 2.5)),
    "hard_silu": (
        lambda z: z * np.clip(z / 6 + 0.5, 0, 1),
        lambda z: np.clip(z / 6 + 0.5, 0, 1) + z * _inside(z, -3, 3) / 6,
    ),
    "hard_tanh": (lambda z: np.clip(z, -1, 1), lambda z: _inside(z, -1, 1)),
}
