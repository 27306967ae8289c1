"""The recurrence in plain `keras.ops`: what runs where the engine cannot, on any device, dtype or Keras backend.

Each cell's equations stand beside its code, for t in processing order, with the columns of the kernels in Keras's
order. s is the recurrent activation and a the activation; W R b are split by gate. The products x_t W + b do not
depend on the state, so they are computed for all steps at once, before the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from keras import ops

from everystep.cells import CELLS
from everystep.engine import Outputs

Tensor = Any  # a tensor of Keras's backend
Function = Callable[[Tensor], Tensor]


class OfH(NamedTuple):
    """What a step makes of h.

    Attributes:
        kernel: R, (H,GH).
        bias: (GH), of the product with R, or None.
        dropout: (G,B,H), a factor of h for each gate, or None.
        gates: G.
        a, s: the activation and the recurrent activation.
    """

    kernel: Tensor
    bias: Tensor | None
    dropout: Tensor | None
    gates: int
    a: Function
    s: Function

    def product(self, h: Tensor, first: int = 0, end: int | None = None) -> list[Tensor]:
        """h R, with its bias, for the gates from `first` to before `end`, (...,H) each."""
        units, end = self.kernel.shape[0], self.gates if end is None else end
        columns = slice(first * units, end * units)
        factors = None if self.dropout is None else self.dropout[first:end]
        found = _product(h, self.kernel[:, columns], factors, end - first)
        return _split(found if self.bias is None else found + self.bias[columns], end - first)


# Of each cell: its gates, from the products of x (a tensor for each gate) and h; and its states, from the gates.


def lstm_gates(x: list[Tensor], h: Tensor, of_h: OfH) -> list[Tensor]:
    """i = s(x W_i + h R_i + b_i), f and o likewise; g = a(x W_g + h R_g + b_g)."""
    i, f, g, o = (x_k + h_k for x_k, h_k in zip(x, of_h.product(h), strict=True))
    return [of_h.s(i), of_h.s(f), of_h.a(g), of_h.s(o)]


def lstm_states(gates: list[Tensor], states: list[Tensor], a: Function) -> list[Tensor]:
    """c' = f c + i g; h' = o a(c')."""
    i, f, g, o = gates
    c = f * states[1] + i * g
    return [o * a(c), c]


def gru_gates(x: list[Tensor], h: Tensor, of_h: OfH) -> list[Tensor]:
    """z = s(x W_z + b_z + h R_z + b'_z), r likewise; g = a(x W_g + b_g + r (h R_g + b'_g))."""
    h_z, h_r, h_g = of_h.product(h)
    z, r = of_h.s(x[0] + h_z), of_h.s(x[1] + h_r)
    return [z, r, of_h.a(x[2] + r * h_g)]


def gru_reset_before_gates(x: list[Tensor], h: Tensor, of_h: OfH) -> list[Tensor]:
    """z = s(x W_z + h R_z + b_z), r likewise; g = a(x W_g + (r h) R_g + b_g)."""
    h_z, h_r = of_h.product(h, end=2)
    z, r = of_h.s(x[0] + h_z), of_h.s(x[1] + h_r)
    return [z, r, of_h.a(x[2] + of_h.product(r * h, first=2)[0])]


def gru_states(gates: list[Tensor], states: list[Tensor], a: Function) -> list[Tensor]:
    """h' = z h + (1 - z) g."""
    z, _, g = gates
    return [z * states[0] + (1 - z) * g]


def simple_gates(x: list[Tensor], h: Tensor, of_h: OfH) -> list[Tensor]:
    """h' = a(x W + h R + b), which is the one gate."""
    return [of_h.a(x[0] + of_h.product(h)[0])]


def simple_states(gates: list[Tensor], states: list[Tensor], a: Function) -> list[Tensor]:
    return gates


EQUATIONS = {
    "lstm": (lstm_gates, lstm_states),
    "gru": (gru_gates, gru_states),
    "gru_reset_before": (gru_reset_before_gates, gru_states),
    "simple": (simple_gates, simple_states),
}


def run(
    cell: str,
    x: Tensor,
    states: Sequence[Tensor],
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None,
    *,
    mask: Tensor | None = None,
    resets: Tensor | None = None,
    reset_states: Sequence[Tensor] | None = None,
    dropout: Tensor | None = None,
    recurrent_dropout: Tensor | None = None,
    backwards: bool = False,
    activation: Function = ops.tanh,
    recurrent_activation: Function = ops.sigmoid,
    sequences: bool = True,
    cells: bool = False,
    gates: bool = False,
) -> Outputs:
    """Runs whole sequences, as `everystep.engine.run` does, differentiable by the backend.

    Args:
        cell: a key of `everystep.cells.CELLS`, whose entry says which states and biases there are.
        x: (B,T,I).
        states: before the first step, (B,H) each.
        kernel: (I,GH).
        recurrent_kernel: (H,GH).
        bias: (GH), (2,GH) for a cell that has two, or None.
        mask: (B,T) bool, aligned with x; False: this step carries the state.
        resets: (B,T) bool, aligned with x; True: this row takes `reset_states` before this step.
        reset_states: (B,H) each; None stands for `states`.
        dropout: (G,B,I), a factor of x for each gate.
        recurrent_dropout: (G,B,H), a factor of h for each gate.
        backwards: take the steps from the last to the first.
        activation: a, elementwise.
        recurrent_activation: s, elementwise.
        sequences, cells, gates: what to return, see `everystep.engine.Outputs`.
    """
    G, (gates_of, states_of) = len(CELLS[cell].gates), EQUATIONS[cell]
    if reset_states is None:
        reset_states = states
    if x.shape[1] == 0:
        empty = ops.zeros((ops.shape(x)[0], 0, G, recurrent_kernel.shape[0]), dtype=x.dtype)
        none = empty[:, :, 0]
        return Outputs(
            none if sequences else states[0], tuple(states), none if cells else None, empty if gates else None
        )

    of_x, of_h_product = (bias, None) if bias is None or CELLS[cell].biases == 1 else (bias[0], bias[1])
    of_h = OfH(recurrent_kernel, of_h_product, recurrent_dropout, G, activation, recurrent_activation)
    seen = ops.ones(ops.shape(x)[:2], dtype="bool") if mask is None else mask
    xW = _product(x, kernel, None if dropout is None else dropout[:, :, None], G)
    over_time = [xW if of_x is None else xW + of_x, seen] + ([] if resets is None else [resets])
    over_time = [ops.swapaxes(v, 0, 1) for v in over_time]  # (T,B,...)

    def step(state: list[Tensor], at_t: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        xW_t, seen_t, *again_t = at_t
        old = [_start_again(s, r, again_t) for s, r in zip(state, reset_states, strict=True)]
        new = states_of(gates_of(_split(xW_t, G), old[0], of_h), old, activation)
        state = [ops.where(seen_t[:, None], n, o) for n, o in zip(new, old, strict=True)]
        return state, state  # TensorFlow's scan wants what a step gives to be like what it carries: no gates

    # (T,B,H) of each state, each step where its x is.
    last, every_state = ops.scan(step, list(states), over_time, reverse=backwards)
    of_gates = None
    if gates:  # once more, all steps in one product, from the h before each step
        xW, seen, *again = over_time
        h, first = every_state[0], states[0][None]
        before = _start_again(ops.concatenate([h[1:], first] if backwards else [first, h[:-1]]), reset_states[0], again)
        every = gates_of(_split(xW, G), before, of_h)
        of_gates = ops.where(seen[..., None, None], ops.stack(every, axis=2), 0)  # (T,B,G,H)

    def in_order(v: Tensor) -> Tensor:  # (T,B,...) -> (B,T,...) in processing order
        return ops.swapaxes(ops.flip(v, axis=0) if backwards else v, 0, 1)

    return Outputs(
        h=in_order(every_state[0]) if sequences else last[0],
        states=tuple(last),
        cells=in_order(every_state[1]) if cells else None,
        gates=None if of_gates is None else in_order(of_gates),
    )


def run_together(calls: Sequence[dict[str, Any]]) -> list[Outputs]:
    """Several runs that do not wait for each other: the arguments of `run` for each, by name."""
    return [run(**call) for call in calls]


def _start_again(state: Tensor, reset_state: Tensor, again: list[Tensor]) -> Tensor:
    """The state, or the reset state in the rows that start afresh; `again` is empty where no row ever does."""
    for rows in again:
        state = ops.where(rows[..., None], reset_state, state)
    return state


def _split(v: Tensor, gates: int) -> list[Tensor]:
    """(...,GH) as G tensors (...,H)."""
    return list(ops.split(v, gates, axis=-1)) if gates > 1 else [v]


def _product(v: Tensor, kernel: Tensor, factors: Tensor | None, gates: int) -> Tensor:
    """v @ kernel, (...,K) by (K,GH), with each gate's own factor of v where there are any: (G,...,K)."""
    if factors is None:
        return ops.matmul(v, kernel)
    columns = _split(kernel, gates)
    return ops.concatenate([ops.matmul(v * factors[k], columns[k]) for k in range(gates)], axis=-1)
