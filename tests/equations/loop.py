"""The loop over the steps, and back: masks, resets, dropouts, the order of time. One for every cell.

A masked step carries the states; a reset puts the row's reset states in the place of the carried ones before the step,
also when the step is masked. Numbers may be NumPy's, or what behaves as they do (rounding.py has such).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from equations.activations import ACTIVATIONS, Activation, Array
from equations.cells import CELLS

STATES = ("h", "c")


class Products(NamedTuple):
    """The products of a step, gate by gate; see `cells.py`."""

    W: list[Any]  # (I,H) for each gate
    R: list[Any]  # (H,H)
    bias: list[Any]  # (H)
    recurrent_bias: list[Any]  # (H)
    dropout: Any  # (G,B,I) or None
    recurrent_dropout: Any  # (G,B,H) or None

    def x(self, k: int, x: Any) -> Any:
        return _plus(_times(x, self.dropout, k) @ self.W[k], self.bias, k)

    def h(self, k: int, h: Any) -> Any:
        return _plus(_times(h, self.recurrent_dropout, k) @ self.R[k], self.recurrent_bias, k)


class ProductsBack:
    """Their gradients: from that of a product to that of what it is of, adding up those of the weights and dropouts."""

    def __init__(self, of: Products) -> None:
        self.of = of
        self.sums: dict[tuple[str, int], Any] = {}  # by the names in Products, and the gate

    def x(self, k: int, x: Any, dz: Any) -> Any:
        return self._back(("W", "bias", "dropout"), k, x, dz)

    def h(self, k: int, h: Any, dz: Any) -> Any:
        return self._back(("R", "recurrent_bias", "recurrent_dropout"), k, h, dz)

    def _back(self, names: tuple[str, str, str], k: int, v: Any, dz: Any) -> Any:
        matrix, bias, dropout = names
        factors = getattr(self.of, dropout)
        d_dropped = dz @ getattr(self.of, matrix)[k].T
        self._add(matrix, k, _times(v, factors, k).T @ dz)
        self._add(bias, k, dz.sum(axis=0))
        if factors is not None:
            self._add(dropout, k, d_dropped * v)
        return _times(d_dropped, factors, k)

    def _add(self, name: str, k: int, d: Any) -> None:
        self.sums[name, k] = self.sums.get((name, k), 0) + d


class Taken(NamedTuple):
    """A step that was taken."""

    t: int
    x: Any  # (B,I)
    seen: Array  # (B,1) of bool
    again: Array  # (B,1) of bool
    gradient: Any  # of the cell's step


class Run(NamedTuple):
    h: Any  # (B,T,H) the carried h at every step, in processing order
    c: Any  # (B,T,H), or None where the cell has no c
    gates: Any  # (B,T,G,H) after activation, 0 on masked steps
    states: tuple[Any, ...]  # the last states, (B,H) each
    products: Products
    tape: list[Taken]  # what the gradient reads


def run(
    cell: str,
    x: Any,
    states: Any,
    weights: dict[str, Any],
    *,
    mask: Array | None = None,
    resets: Array | None = None,
    reset_states: Any = None,
    dropout: Any = None,
    recurrent_dropout: Any = None,
    backwards: bool = False,
    activation: str = "tanh",
    recurrent_activation: str = "sigmoid",
    activations: dict[str, Activation] = ACTIVATIONS,
) -> Run:
    """x (B,T,I), states (B,H) each, mask and resets (B,T) of bool, aligned with x; weights in Keras's layout.

    dropout (G,B,I) and recurrent_dropout (G,B,H) hold a factor for each gate, bias is (GH), or (2,GH) with that of the
    recurrent kernel, or left out. `activations` is where the two names are looked up.
    """
    (B, T, _), H = x.shape, states[0].shape[1]
    products = _products(weights, dropout, recurrent_dropout)
    s, a = activations[recurrent_activation], activations[activation]
    mask = np.ones((B, T), bool) if mask is None else mask
    resets = np.zeros((B, T), bool) if resets is None else resets
    states = tuple(states)
    reset_states = states if reset_states is None else reset_states
    out = [np.zeros_like(x, shape=(B, T, H)) for _ in states]
    out_gates = np.zeros_like(x, shape=(B, T, len(products.W), H))
    tape = []
    for step, t in enumerate(reversed(range(T)) if backwards else range(T)):
        again, seen = resets[:, t, None], mask[:, t, None]
        states = tuple(np.where(again, reset, state) for reset, state in zip(reset_states, states, strict=True))
        new, gates, back = CELLS[cell](products, x[:, t], *states, s, a)
        tape.append(Taken(t, x[:, t], seen, again, back))
        states = tuple(np.where(seen, n, state) for n, state in zip(new, states, strict=True))
        for to, state in zip(out, states, strict=True):
            to[:, step] = state
        out_gates[:, step] = np.where(seen[..., None], np.stack(gates, axis=1), 0)
    return Run(out[0], out[1] if len(out) > 1 else None, out_gates, states, products, tape)


def gradient(
    run: Run, *, d_h: Any = None, d_c: Any = None, d_gates: Any = None, d_states: Any = None
) -> dict[str, Any]:
    """The gradient of sum(d_h h) + sum(d_c c) + sum(d_gates gates) + sum(d_states states); None stands for zeros.

    By name: x, h0, c0, reset_h, reset_c, and the weights and dropouts that the run has.
    """

    def or_zeros(d: Any, like: Any) -> Any:
        return np.zeros_like(like) if d is None else d

    d_out = [or_zeros(d_h, run.h)] + ([] if run.c is None else [or_zeros(d_c, run.c)])
    d_gates = or_zeros(d_gates, run.gates)
    d_states = (None,) * len(run.states) if d_states is None else d_states
    d_states = tuple(or_zeros(d, state) for d, state in zip(d_states, run.states, strict=True))
    back = ProductsBack(run.products)
    (B, T), I = run.h.shape[:2], run.products.W[0].shape[0]
    d_x, d_reset = np.zeros_like(run.h, shape=(B, T, I)), [np.zeros_like(state) for state in run.states]
    for step in reversed(range(T)):
        t, x, seen, again, step_gradient = run.tape[step]
        d_states = [d + arriving[:, step] for d, arriving in zip(d_states, d_out, strict=True)]
        carried = [np.where(seen, 0, d) for d in d_states]  # a masked step hands its gradient on as it is
        d_new = [np.where(seen, d, 0) for d in d_states]
        d_now = np.where(seen[..., None], d_gates[:, step], 0)
        dz, d_before = step_gradient(back, *d_new, *(d_now[:, k] for k in range(d_now.shape[1])))
        d_x[:, t] = sum(back.x(k, x, dz[k]) for k in range(len(dz)))
        d_states = [d + e for d, e in zip(carried, d_before, strict=True)]
        d_reset = [d + np.where(again, e, 0) for d, e in zip(d_reset, d_states, strict=True)]
        d_states = [np.where(again, 0, d) for d in d_states]
    found = dict(x=d_x) | _named_as_given(back)
    for letter, d, d_again in zip(STATES, d_states, d_reset, strict=False):
        found |= {f"{letter}0": d, f"reset_{letter}": d_again}
    return found


def _products(weights: dict[str, Any], dropout: Any, recurrent_dropout: Any) -> Products:
    H = weights["recurrent_kernel"].shape[0]

    def columns(w: Any) -> list[Any]:
        return [] if w is None else [w[..., k : k + H] for k in range(0, w.shape[-1], H)]

    bias = weights.get("bias")
    two = bias is not None and len(bias.shape) == 2
    biases = (bias[0], bias[1]) if two else (bias, None)
    matrices = (weights["kernel"], weights["recurrent_kernel"])
    return Products(*map(columns, (*matrices, *biases)), dropout, recurrent_dropout)


def _named_as_given(back: ProductsBack) -> dict[str, Any]:
    """The gradients of the weights and dropouts, put together as the weights came."""

    def each(name: str) -> list[Any]:
        given = getattr(back.of, name)
        return [back.sums.get((name, k), np.zeros_like(given[k])) for k in range(len(back.of.W))]

    found = dict(kernel=np.concatenate(each("W"), axis=-1), recurrent_kernel=np.concatenate(each("R"), axis=-1))
    if back.of.bias:
        found["bias"] = np.concatenate(each("bias"))
    if back.of.recurrent_bias:
        found["bias"] = np.stack([found["bias"], np.concatenate(each("recurrent_bias"))])
    for name in ("dropout", "recurrent_dropout"):
        if getattr(back.of, name) is not None:
            found[name] = np.stack(each(name))
    return found


def _times(v: Any, dropout: Any, k: int) -> Any:
    return v if dropout is None else v * dropout[k]


def _plus(z: Any, bias: list[Any], k: int) -> Any:
    return z + bias[k] if bias else z
