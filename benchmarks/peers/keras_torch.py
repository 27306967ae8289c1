"""Keras on PyTorch, eagerly: torch.compile would unroll the loop, and compile each of its steps."""

import os

os.environ["KERAS_BACKEND"] = "torch"

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import keras
import torch
from problem import Problem

from peers.keras_layers import built


def versions() -> dict[str, str]:
    return {"keras": version("keras"), "torch": torch.__version__}


def prepare(p: Problem, gradients: bool) -> tuple[Callable[[], Any], Callable[[Any], list[Any]]]:
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    layer = built(getattr(keras.layers, p.layer.name), p)
    x, *states = (torch.from_numpy(array).requires_grad_(gradients) for array in (p.x, *p.states))
    inputs = (x, *states, *(variable.value for variable in layer.trainable_variables))
    d_h = torch.from_numpy(p.d_h)

    @torch.inference_mode()
    def forward() -> list[Any]:
        return [layer(x, initial_state=states)]

    def both() -> list[Any]:
        h = layer(x, initial_state=states)
        return [h, *torch.autograd.grad(h, inputs, d_h)]

    return both if gradients else forward, lambda results: [value.detach().numpy() for value in results]
