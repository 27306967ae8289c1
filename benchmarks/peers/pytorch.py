"""PyTorch's nn.LSTM, nn.GRU and nn.RNN. Their kernels are transposed, and each has a bias."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from problem import Problem, reorder

# Of each layer: its module, and where that one's gates are among ours; read the other way round, it is the same.
MODULES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "LSTM": (torch.nn.LSTM, (0, 1, 2, 3)),
    "GRU": (torch.nn.GRU, (1, 0, 2)),  # r, z, g
    "SimpleRNN": (torch.nn.RNN, (0,)),
}


def versions() -> dict[str, str]:
    return {"torch": torch.__version__}


def prepare(p: Problem, gradients: bool) -> tuple[Callable[[], Any], Callable[[Any], list[Any]]]:
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    module, order = MODULES[p.layer.name]
    layer = module(p.shape.I, p.shape.H, batch_first=True)
    weights = (layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0)
    with torch.no_grad():
        for parameter, value in zip(weights, (*p.weights[:2], *p.biases), strict=True):
            parameter.copy_(torch.from_numpy(reorder(value, order).T.copy()))
    x, *states = (torch.from_numpy(a).requires_grad_(gradients) for a in (p.x, *(state[None] for state in p.states)))
    start = tuple(states) if len(states) > 1 else states[0]
    d_h = torch.from_numpy(p.d_h)
    inputs = (x, *states, *weights)

    @torch.inference_mode()
    def forward() -> Any:
        return layer(x, start)[0]

    def both() -> Any:
        h = layer(x, start)[0]
        return h, torch.autograd.grad(h, inputs, d_h)

    def arrays(results: Any) -> list[Any]:
        if not gradients:
            return [results.numpy()]
        h, (d_x, *found) = results
        d_states = [d[0] for d in found[: len(states)]]
        d_kernel, d_recurrent_kernel, *d_biases = (reorder(d.numpy().T, order) for d in found[len(states) :])
        d_bias = np.stack(d_biases) if p.layer.cell.biases == 2 else d_biases[0]
        return [h.detach().numpy(), d_x.numpy(), *(d.numpy() for d in d_states), d_kernel, d_recurrent_kernel, d_bias]

    return both if gradients else forward, arrays
