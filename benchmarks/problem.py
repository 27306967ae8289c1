"""What is timed: one LSTM layer on random data, in Keras's layout, and how much work it is.

B batch, T time steps, I input features, H units. Everything is float32.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

GRADIENTS = ("d_x", "d_h0", "d_c0", "d_kernel", "d_recurrent_kernel", "d_bias")


class Shape(NamedTuple):
    B: int
    T: int
    I: int
    H: int

    def flops(self, gradients: bool) -> float:
        """Of the matrix products alone; each product of the forward pass has two in the backward pass."""
        return (3 if gradients else 1) * 2.0 * self.B * self.T * 4 * self.H * (self.I + self.H)

    def recurrent_bytes(self) -> int:
        """Of the recurrent kernel, which every step must read."""
        return 4 * self.H * self.H * 4


class Problem:
    """Inputs, weights, and the gradient that arrives at the output.

    Attributes: x (B,T,I), h0 and c0 (B,H), kernel (I,4H), recurrent_kernel (H,4H), bias (4H), d_h (B,T,H).
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        B, T, I, H = shape
        random = np.random.default_rng(0)

        def normal(scale: float, *size: int) -> np.ndarray:
            return (scale * random.standard_normal(size)).astype(np.float32)

        self.x = normal(1, B, T, I)
        self.h0, self.c0 = normal(0.5, B, H), normal(0.5, B, H)
        self.kernel = normal(I**-0.5, I, 4 * H)
        self.recurrent_kernel = normal(H**-0.5, H, 4 * H)
        self.bias = normal(0.1, 4 * H)
        self.bias[H : 2 * H] += 1  # the forget gate starts open
        self.d_h = normal(1, B, T, H)
