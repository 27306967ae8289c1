"""How far two computations of one thing may lie apart that only round differently."""

from __future__ import annotations

from typing import Any

import numpy as np


def value_tolerance(layer: Any, x: np.ndarray) -> float:
    """How far two runs of an LSTM (tanh, sigmoid, from zeros) may lie apart that only round differently.

    A preactivation is a sum of n = I + H + 1 terms with absolute values summing to at most s; in any order of
    summation it is off by n eps s. Gate functions have slopes of at most 1 and errors of a few eps, so one step adds

        d = eps (n s + 8)

    to h and c. An error e already in h and c leaves a step as at most r e, where, with p the largest forget gate,
    C = 1 / (1 - p) the largest |c|, and R_k the largest column sum of |R| of gate k,

        r = p + R_g + R_i / 4 + C R_f / 4 + R_o / 4

    (a sigmoid's slope is at most 1/4). After T steps that is at most d (1 + r + ... + r^(T-1)), for each of the two.
    """
    kernel, recurrent, *bias = (np.abs(w).astype(np.float64) for w in layer.get_weights())
    b = bias[0] if bias else np.zeros(kernel.shape[1])
    z = np.abs(x).max(axis=(0, 1)) @ kernel + recurrent.sum(axis=0) + b
    p = 1 / (1 + np.exp(-np.split(z, 4)[1].max()))
    R_i, R_f, R_g, R_o = (part.sum(axis=0).max() for part in np.split(recurrent, 4, axis=1))
    r = p + R_g + R_i / 4 + 1 / (1 - p) * R_f / 4 + R_o / 4
    steps = x.shape[1]
    grown = steps if r == 1 else (r**steps - 1) / (r - 1)
    n = kernel.shape[0] + recurrent.shape[0] + 1
    return float(2 * np.finfo(x.dtype).eps * (n * z.max() + 8) * grown)


def assert_close64(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    """Equal to 1e-10 of the largest entry, or of 1: float64 leaves five digits of room over that."""
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype != np.float32
        if b.size:
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-10 * max(1.0, float(np.abs(b).max())))
