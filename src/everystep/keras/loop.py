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
from typing import Any, NamedTuple

from keras import ops

Tensor = Any  # a tensor of Keras's backend
Function = Callable[[Tensor], Tensor]


class Outputs(NamedTuple):
    """What a run gives, here and on the engine.

    Attributes:
        h: the carried hidden state: (B,T,H) in processing order with `sequences`, else the last one, (B,H).
        states: the last h and c, (B,H) each.
        cells: the carried cell state at every step (B,T,H), with `cells`; else None.
        gates: every gate after its activation (B,T,G,H), 0 on masked steps, with `gates`; else None.
    """

    h: Tensor
    states: tuple[Tensor, ...]
    cells: Tensor | None
    gates: Tensor | None


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
        sequences, cells, gates: what to return, see `Outputs`.
    """
    if cell != "lstm":
        raise ValueError(f"cell is {cell!r}, and the loop has the equations of 'lstm' only")
    if reset_states is None:
        reset_states = states
    seen = ops.ones(ops.shape(x)[:2], dtype="bool") if mask is None else mask

    def step(carry: tuple[Tensor, Tensor], at_t: list[Tensor]) -> tuple[tuple[Tensor, Tensor], list[Tensor]]:
        h, c = carry
        xW, seen_t, *reset_t = at_t
        if reset_t:
            h, c = (ops.where(reset_t[0][:, None], r, s) for r, s in zip(reset_states, (h, c), strict=True))
        z = xW + _product(h, recurrent_kernel, recurrent_dropout)
        z_i, z_f, z_g, z_o = ops.split(z, 4, axis=-1)
        i, f, g, o = recurrent_activation(z_i), recurrent_activation(z_f), activation(z_g), recurrent_activation(z_o)
        c_t = f * c + i * g
        h_t = o * activation(c_t)
        seen_t = seen_t[:, None]
        h, c = ops.where(seen_t, h_t, h), ops.where(seen_t, c_t, c)
        kept = [h] if sequences else []
        kept += [c] if cells else []
        kept += [ops.where(seen_t[:, None], ops.stack([i, f, g, o], axis=1), 0)] if gates else []
        return (h, c), kept

    xW = _product(x, kernel, None if dropout is None else dropout[:, :, None])
    inputs = [xW if bias is None else xW + bias, seen] + ([] if resets is None else [resets])
    T, H = x.shape[1], recurrent_kernel.shape[0]
    if T == 0:
        B = ops.shape(x)[0]
        last = states
        asked = (((H,), sequences), ((H,), cells), ((4, H), gates))
        kept = [ops.zeros((0, B, *rest), dtype=x.dtype) for rest, on in asked if on]
    else:
        last, kept = ops.scan(step, tuple(states), [_swap_batch_and_time(v) for v in inputs], reverse=backwards)
        # A reversed scan stacks its outputs at the positions of its inputs; we return them in processing order.
        kept = [ops.flip(v, axis=0) if backwards else v for v in kept]
    named = iter([_swap_batch_and_time(v) for v in kept])
    h = next(named) if sequences else last[0]
    return Outputs(h, tuple(last), next(named) if cells else None, next(named) if gates else None)


def _product(v: Tensor, kernel: Tensor, factors: Tensor | None) -> Tensor:
    """v @ kernel, (...,K) by (K,4H), with each gate's own factor of v where there are any: (4,...,K)."""
    if factors is None:
        return ops.matmul(v, kernel)
    columns = ops.split(kernel, 4, axis=-1)
    return ops.concatenate([ops.matmul(v * factors[k], columns[k]) for k in range(4)], axis=-1)


def _swap_batch_and_time(v: Tensor) -> Tensor:
    return ops.swapaxes(v, 0, 1)
