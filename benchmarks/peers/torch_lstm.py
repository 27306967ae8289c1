"""torch.nn.LSTM. Its gates are in Keras's order; its kernels are transposed, and it adds two biases."""

import os
from collections.abc import Callable
from typing import Any

import torch
from problem import GRADIENTS, Problem


def versions() -> dict[str, str]:
    return {"torch": torch.__version__}


def prepare(p: Problem, gradients: bool) -> tuple[Callable[[], Any], Callable[[Any], dict[str, Any]]]:
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    lstm = torch.nn.LSTM(p.shape.I, p.shape.H, batch_first=True)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(torch.from_numpy(p.kernel.T.copy()))
        lstm.weight_hh_l0.copy_(torch.from_numpy(p.recurrent_kernel.T.copy()))
        lstm.bias_ih_l0.copy_(torch.from_numpy(p.bias))
        lstm.bias_hh_l0.zero_()
    x, h0, c0 = (torch.from_numpy(array).requires_grad_(gradients) for array in (p.x, p.h0[None], p.c0[None]))
    d_h = torch.from_numpy(p.d_h)
    inputs = (x, h0, c0, lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0, lstm.bias_hh_l0)

    @torch.inference_mode()
    def forward() -> Any:
        return lstm(x, (h0, c0))[0]

    def both() -> Any:
        h = lstm(x, (h0, c0))[0]
        return h, torch.autograd.grad(h, inputs, d_h)

    def arrays(results: Any) -> dict[str, Any]:
        if not gradients:
            return {"h": results.numpy()}
        h, (d_x, d_h0, d_c0, d_kernel, d_recurrent_kernel, d_bias, _) = results
        found = (d_x, d_h0[0], d_c0[0], d_kernel.T, d_recurrent_kernel.T, d_bias)
        return {"h": h.detach().numpy()} | {name: d.numpy() for name, d in zip(GRADIENTS, found, strict=True)}

    return both if gradients else forward, arrays
