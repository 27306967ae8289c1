"""How far two computations of one thing may lie apart that only round differently."""

from __future__ import annotations

from typing import Any

import numpy as np
from engine_cases import Case
from rounding import value_errors

from everystep.cells import CELLS


def value_tolerance(layer: Any, x: np.ndarray, mask: np.ndarray | None = None, backwards: bool = False) -> float:
    """How far two runs of a recurrent layer in float32 may lie apart that only round differently.

    Each is within the running bounds of tests/rounding.py of the same numbers in float64: twice the largest of them, of
    outputs, states and gates. The layer is an LSTM, a GRU or a SimpleRNN, of Keras or ours, with its usual activations,
    and starts from zeros.
    """
    cell = dict(LSTM="lstm", SimpleRNN="simple").get(type(layer).__name__)
    cell = cell or ("gru" if layer.reset_after else "gru_reset_before")
    arrays = dict(zip(("kernel", "recurrent_kernel", "bias"), layer.get_weights(), strict=False), x=x)
    zeros = np.zeros((len(x), arrays["recurrent_kernel"].shape[0]), x.dtype)
    arrays |= {f"{letter}0": zeros for letter in CELLS[cell].states}
    functions = dict(activation="tanh", recurrent_activation="sigmoid")
    call = Case(arrays, dict(mask=mask, resets=None, backwards=backwards, **functions), cell)
    return 2 * max(float(error.max()) for error in value_errors(call).values())


def assert_close64(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    """Equal to 1e-10 of the largest entry, or of 1: float64 leaves five digits of room over that."""
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype != np.float32
        if b.size:
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-10 * max(1.0, float(np.abs(b).max())))
