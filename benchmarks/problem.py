"""What is timed: one recurrent layer on random data, in Keras's layout, and how much work it is.

B batch, T time steps, I input features, H units, G gates. Everything is float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from everystep import cells


class Layer(NamedTuple):
    name: str  # Keras's
    cell: cells.Cell


LAYERS = {
    "lstm": Layer("LSTM", cells.LSTM),
    "gru": Layer("GRU", cells.GRU),
    "simple_rnn": Layer("SimpleRNN", cells.SIMPLE),
}


class Shape(NamedTuple):
    B: int
    T: int
    I: int
    H: int

    @classmethod
    def read(cls, text: str) -> Shape:
        """From "B,T,I,H"."""
        numbers = text.split(",")
        if len(numbers) != 4 or not all(number.strip().isdecimal() for number in numbers):
            raise ValueError(f"expected a shape B,T,I,H as in 32,100,64,256; got {text!r}")
        return cls(*map(int, numbers))

    @property
    def text(self) -> str:
        return ",".join(map(str, self))

    def flops(self, G: int, gradients: bool) -> float:
        """Of the matrix products alone; each product of the forward pass has two in the backward pass."""
        return (3 if gradients else 1) * 2.0 * self.B * self.T * G * self.H * (self.I + self.H)

    def recurrent_bytes(self, G: int) -> int:
        """Of the recurrent kernel, which every step must read."""
        return 4 * self.H * G * self.H


class Problem:
    """Inputs, weights, and the gradient that arrives at the output.

    Attributes:
        x: (B,T,I).
        states: before the first step, (B,H) each.
        weights: kernel (I,GH), recurrent_kernel (H,GH) and bias, (GH) or (2,GH).
        d_h: (B,T,H).
        options: of `engine.run`; arriving: gradients of `engine.run_backward` beside d_h. None for peers.
        names: of the results: h, then the gradients of x, states and weights.
    """

    def __init__(
        self, layer: Layer, shape: Shape, options: dict[str, Any] | None = None, arriving: dict[str, Any] | None = None
    ) -> None:
        self.layer, self.shape, self.options, self.arriving = layer, shape, options or {}, arriving or {}
        B, T, I, H = shape
        random = np.random.default_rng(0)

        def normal(scale: float, *size: int) -> np.ndarray:
            return (scale * random.standard_normal(size)).astype(np.float32)

        self.x = normal(1, B, T, I)
        self.states = tuple(normal(0.5, B, H) for _ in layer.cell.states)
        # Half of what keeps the size of h: so that its errors die out, also where the activation has no bounds.
        scales = {"kernel": I**-0.5, "recurrent_kernel": 0.5 * H**-0.5, "bias": 0.1}
        weights = {name: normal(scales[name], *size) for name, size in layer.cell.weight_shapes(I, H).items()}
        if layer.name == "LSTM":
            weights["bias"][H : 2 * H] += 1  # the forget gate starts open
        self.weights = tuple(weights.values())
        self.d_h = normal(1, B, T, H)
        starts = (f"{letter}0" for letter in layer.cell.states)
        self.names = ("h", *(f"d_{name}" for name in ("x", *starts, *weights)))

    @property
    def biases(self) -> np.ndarray:
        """One for each kernel (2,GH), as PyTorch and ONNX have them."""
        bias = self.weights[2]
        return bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])


def reorder(columns: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """(...,GH) with the gates in another order: first the one that is number order[0] here."""
    gates = np.split(columns, len(order), axis=-1)
    return np.concatenate([gates[k] for k in order], axis=-1)
