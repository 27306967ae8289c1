"""PyTorch's nn.LSTM, nn.GRU and nn.RNN as its documentation has them, from a state dict, in NumPy.

https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html, torch.nn.GRU.html and torch.nn.RNN.html.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def random_state_dict(
    rng: np.random.Generator,
    mode: str,
    I: int,
    H: int,
    layers: int = 1,
    bidirectional: bool = False,
    bias: bool = True,
    dtype: Any = np.float64,
) -> dict[str, Array]:
    state = {}
    for k in range(layers):
        for suffix in (f"_l{k}", f"_l{k}_reverse")[: 1 + bidirectional]:
            rows, inputs = GATES[mode] * H, I if k == 0 else H * (1 + bidirectional)
            shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, H), "bias_ih": (rows,), "bias_hh": (rows,)}
            for name, shape in list(shapes.items())[: 4 if bias else 2]:
                state[name + suffix] = rng.normal(0, 0.5, shape).astype(dtype)
    return state


def run(state: dict[str, Array], mode: str, x: Array) -> list[Array]:
    """x (B,T,I), from zeros: output (B,T,H) or (B,T,2H), h_n and, of an LSTM, c_n (LD,B,H)."""
    last: list[tuple[Array, ...]] = []
    k = 0
    while f"weight_hh_l{k}" in state:
        both = []
        for suffix in (f"_l{k}", f"_l{k}_reverse"):
            if f"weight_hh{suffix}" in state:
                order = slice(None, None, -1 if suffix.endswith("reverse") else 1)
                h, states = _direction(state, suffix, mode, x[:, order])
                both.append(h[:, order])
                last.append(states)
        x = np.concatenate(both, axis=-1)
        k += 1
    return [x, *(np.stack(s) for s in zip(*last, strict=True))]


def _direction(state: dict[str, Array], suffix: str, mode: str, x: Array) -> tuple[Array, tuple[Array, ...]]:
    """h at every step (B,T,H), and the last states."""
    W, R = state["weight_ih" + suffix], state["weight_hh" + suffix]
    nothing = np.zeros(len(W), W.dtype)
    b_i, b_h = state.get("bias_ih" + suffix, nothing), state.get("bias_hh" + suffix, nothing)
    h = c = np.zeros((len(x), R.shape[1]), x.dtype)
    out = []
    for t in range(x.shape[1]):
        from_x, from_h = x[:, t] @ W.T + b_i, h @ R.T + b_h
        if mode == "LSTM":
            i, f, g, o = np.split(from_x + from_h, 4, axis=-1)
            c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
            h = _sigmoid(o) * np.tanh(c)
        elif mode == "GRU":
            (xr, xz, xn), (hr, hz, hn) = np.split(from_x, 3, axis=-1), np.split(from_h, 3, axis=-1)
            r, z = _sigmoid(xr + hr), _sigmoid(xz + hz)
            n = np.tanh(xn + r * hn)
            h = (1 - z) * n + z * h
        elif mode == "RNN_TANH":
            h = np.tanh(from_x + from_h)
        else:
            h = np.maximum(from_x + from_h, 0)
        out.append(h)
    return np.stack(out, axis=1), (h, c) if mode == "LSTM" else (h,)


def _sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))
