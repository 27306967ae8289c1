"""PyTorch's recurrent modules, made of runs of one layer and direction each, and the way back through them.

https://docs.pytorch.org/docs/stable/nn.html#recurrent-layers has the equations. Each layer and direction has weight_ih
(GH,I), weight_hh (GH,H) and, with biases, bias_ih and bias_hh (GH); states are (LD,B,H), a layer's D directions side by
side. Gates are i, f, g, o in an LSTM and r, z, n in a GRU.

The runs are the engine's, or the oracle's on numbers that know how far float32 may be off. A run is a function

    h, states, back = run(cell, x, states, weights, mask=, backwards=, activation=)

and back(d_h, d_states) the gradients of what went in, by name. h and d_h are in processing order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equations
import numpy as np
import torch
from rounding import FUNCTIONS, Rounded

from everystep import engine
from everystep.cells import CELLS

WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
# Every kind of module: its class, and with which options.
KINDS: dict[str, Any] = {
    "lstm": (torch.nn.LSTM, {}),
    "gru": (torch.nn.GRU, {}),
    "tanh": (torch.nn.RNN, {}),
    "relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
}
# How PyTorch calls a module -> the engine's cell, and its activation.
MODES = {
    "LSTM": ("lstm", "tanh"),
    "GRU": ("gru", "tanh"),
    "RNN_TANH": ("simple", "tanh"),
    "RNN_RELU": ("simple", "relu"),
}


class Stack(NamedTuple):
    """What `forward` returns: as the module does, and the gradients' functions."""

    output: Any  # (B,T,DH), 0 behind a row's last step
    states: list[Any]  # h and, of an LSTM, c (LD,B,H)
    backs: list[list[Any]]  # a layer's directions
    mask: Any


def forward(run: Callable[..., Any], module: torch.nn.RNNBase, x: Any, start: Any, mask: Any, number: Any) -> Stack:
    """x (B,T,I), start (LD,B,H) each, mask (B,T) with the padding behind each row, or None; number(array) of an array
    is what `run` computes with."""
    (cell, activation), D = MODES[module.mode], 2 if module.bidirectional else 1
    x, start = number(x), [number(s) for s in start]
    last, backs = [], []
    for layer in range(module.num_layers):
        both, kept = [], []
        for d in range(D):
            states = [s[layer * D + d] for s in start]
            weights = _weights(module, cell, f"_l{layer}" + "_reverse" * d, number)
            h, states, back = run(cell, x, states, weights, mask=mask, backwards=d == 1, activation=activation)
            both.append(h[:, ::-1] if d else h)
            last.append(states)
            kept.append(back)
        backs.append(kept)
        x = np.concatenate(both, axis=-1)
        x = x if mask is None else np.where(mask[..., None], x, np.zeros_like(x))
    return Stack(x, [np.stack(s) for s in zip(*last, strict=True)], backs, mask)


def backward(module: torch.nn.RNNBase, of: Stack, d_output: Any, d_states: Any) -> dict[str, Any]:
    """By PyTorch's names of the weights, and x, h0, c0: of sum(d_output output) + sum(d_states states)."""
    (cell, _), D, H = MODES[module.mode], 2 if module.bidirectional else 1, module.hidden_size
    found: dict[str, Any] = {}
    names = [f"{state}0" for state in CELLS[cell].states]
    starts: dict[str, list[Any]] = {name: [] for name in names}
    for layer in reversed(range(module.num_layers)):
        if of.mask is not None:
            d_output = np.where(of.mask[..., None], d_output, np.zeros_like(d_output))
        d_x = []
        for d in reversed(range(D)):
            d_h = d_output[..., d * H : (d + 1) * H]
            back = of.backs[layer][d](d_h[:, ::-1] if d else d_h, [s[layer * D + d] for s in d_states])
            d_x.append(back["x"])
            parts = [back["kernel"].T, back["recurrent_kernel"].T]
            if "bias" in back:
                parts += [back["bias"][0], back["bias"][1]] if cell == "gru" else [back["bias"]] * 2
            suffix = f"_l{layer}" + "_reverse" * d
            found |= {name + suffix: _swapped(cell, part) for name, part in zip(WEIGHTS, parts, strict=False)}
            for name in names:
                starts[name].append(back[name])
        d_output = d_x[0] + d_x[1] if D == 2 else d_x[0]
    return found | {"x": d_output} | {name: np.stack(backwards[::-1]) for name, backwards in starts.items()}


def run_engine(cell: str, x: Any, states: Any, weights: Any, **how: Any) -> Any:
    weights = {name: np.ascontiguousarray(w) for name, w in weights.items()}
    states = [np.ascontiguousarray(s) for s in states]
    found = engine.run(engine.pack(cell, **weights), x, states, **how, record=True)

    def back(d_h: Any, d_states: Any) -> dict[str, Any]:
        arriving = dict(d_h=np.ascontiguousarray(d_h), d_states=[np.ascontiguousarray(d) for d in d_states])
        d = engine.run_backward(found.record, **weights, **arriving)
        named = d._asdict() | {f"{s}0": v for s, v in zip(CELLS[cell].states, d.states, strict=True)}
        return {name: v for name, v in named.items() if v is not None}

    return found.h, found.states, back


def run_oracle(cell: str, x: Any, states: Any, weights: Any, **how: Any) -> Any:
    found = equations.run(cell, x, states, weights, **how, activations=FUNCTIONS)
    return found.h, found.states, lambda d_h, d_states: equations.gradient(found, d_h=d_h, d_states=tuple(d_states))


def rounded(array: Any) -> Rounded:
    return Rounded(np.asarray(array, np.float64))


def _weights(module: torch.nn.RNNBase, cell: str, suffix: str, number: Any) -> dict[str, Any]:
    """kernel (I,GH), recurrent_kernel (H,GH) and bias of one direction of a layer."""
    ih, hh, *biases = (
        _swapped(cell, number(getattr(module, name + suffix).detach().numpy()))
        for name in WEIGHTS[: 4 if module.bias else 2]
    )
    weights = {"kernel": ih.T, "recurrent_kernel": hh.T}
    if biases:
        weights["bias"] = np.stack(biases) if cell == "gru" else biases[0] + biases[1]
    return weights


def _swapped(cell: str, rows: Any) -> Any:
    """Rows (GH,...) from PyTorch's order of gates to ours, or back."""
    if cell != "gru":
        return rows
    H = rows.shape[0] // 3
    return np.concatenate([rows[H : 2 * H], rows[:H], rows[2 * H :]])
