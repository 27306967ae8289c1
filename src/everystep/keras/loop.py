"""The recurrence in plain `keras.ops`: what runs where the engine cannot, on any device, dtype or Keras backend.

The columns of the kernels are Keras's: i, f, g, o. For t in processing order,

    z_t = x_t W + h_{t-1} R + b                  (B,4H), split into z_i z_f z_g z_o
    i = s(z_i)   f = s(z_f)   g = a(z_g)   o = s(z_o)
    c_t = f * c_{t-1} + i * g
    h_t = o * a(c_t)

s is the recurrent activation and a the activation. The first product does not depend on the state, so it is
computed for all steps at once, before the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from everystep.engine import Outputs

Tensor = Any  # a tensor of Keras's backend
Function = Callable[[Tensor], Tensor]


def run(
    cell: str,
    x: Tensor,
    states: tuple[Tensor, ...],
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None,
    *,
    mask: Tensor | None = None,
    resets: Tensor | None = None,
    reset_states: tuple[Tensor, ...] | None = None,
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
        cell: "lstm".
        x: (B,T,I).
        states: h and c before the first step, (B,H) each.
        kernel: (I,4H).
        recurrent_kernel: (H,4H).
        bias: (4H), or None.
        mask: (B,T) bool, aligned with x; False: this step carries the state.
        resets: (B,T) bool, aligned with x; True: this row takes `reset_states` before this step.
        reset_states: (B,H) each; None stands for `states`.
        dropout: (4,B,I), a factor of x for each gate.
        recurrent_dropout: (4,B,H), a factor of h for each gate.
        backwards: take the steps from the last to the first.
        activation: a, elementwise.
        recurrent_activation: s, elementwise.
        sequences, cells, gates: what to return, see `everystep.engine.Outputs`.
    """
    if cell != "lstm":
        raise ValueError(f"cell is {cell!r}, and the loop has the equations of 'lstm' only")
    if reset_states is None:
        reset_states = states
    if x.shape[1] == 0:
        empty = ops.zeros((ops.shape(x)[0], 0, 4, recurrent_kernel.shape[0]), dtype=x.dtype)
        none = empty[:, :, 0]
        return Outputs(
            none if sequences else states[0], tuple(states), none if cells else None, empty if gates else None
        )

    seen = ops.ones(ops.shape(x)[:2], dtype="bool") if mask is None else mask
    xW = _product(x, kernel, None if dropout is None else dropout[:, :, None])
    over_time = [xW if bias is None else xW + bias, seen] + ([] if resets is None else [resets])
    over_time = [ops.swapaxes(v, 0, 1) for v in over_time]  # (T,B,...)

    def gates_of(xW: Tensor, h: Tensor) -> list[Tensor]:
        z_i, z_f, z_g, z_o = ops.split(xW + _product(h, recurrent_kernel, recurrent_dropout), 4, axis=-1)
        return [recurrent_activation(z_i), recurrent_activation(z_f), activation(z_g), recurrent_activation(z_o)]

    def step(state: list[Tensor], at_t: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        xW_t, seen_t, *again_t = at_t
        h, c = (_start_again(s, r, again_t) for s, r in zip(state, reset_states, strict=True))
        i, f, g, o = gates_of(xW_t, h)
        c_t = f * c + i * g
        h_t = o * activation(c_t)
        state = [ops.where(seen_t[:, None], new, old) for new, old in ((h_t, h), (c_t, c))]
        return state, state  # TensorFlow's scan wants what a step gives to be like what it carries: no gates

    last, (h, c) = ops.scan(step, list(states), over_time, reverse=backwards)  # (T,B,H), each step where its x is
    of_gates = None
    if gates:  # once more, all steps in one product, from the h before each step
        xW, seen, *again = over_time
        before = [h[1:], states[0][None]] if backwards else [states[0][None], h[:-1]]
        every = gates_of(xW, _start_again(ops.concatenate(before), reset_states[0], again))
        of_gates = ops.where(seen[..., None, None], ops.stack(every, axis=2), 0)  # (T,B,4,H)

    def in_order(v: Tensor) -> Tensor:  # (T,B,...) -> (B,T,...) in processing order
        return ops.swapaxes(ops.flip(v, axis=0) if backwards else v, 0, 1)

    return Outputs(
        h=in_order(h) if sequences else last[0],
        states=tuple(last),
        cells=in_order(c) if cells else None,
        gates=None if of_gates is None else in_order(of_gates),
    )


def _start_again(state: Tensor, reset_state: Tensor, again: list[Tensor]) -> Tensor:
    """The state, or the reset state in the rows that start afresh; `again` is empty where no row ever does."""
    for rows in again:
        state = ops.where(rows[..., None], reset_state, state)
    return state


def _product(v: Tensor, kernel: Tensor, factors: Tensor | None) -> Tensor:
    """v @ kernel, (...,K) by (K,4H), with each gate's own factor of v where there are any: (4,...,K)."""
    if factors is None:
        return ops.matmul(v, kernel)
    columns = ops.split(kernel, 4, axis=-1)
    return ops.concatenate([ops.matmul(v * factors[k], columns[k]) for k in range(4)], axis=-1)
