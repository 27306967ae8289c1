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


def model_tolerances(model: Any, arrays: list[np.ndarray]) -> list[float]:
    """How far two predictions of one model in float32 may lie apart that only round differently; for each output.

    A sum of n products in float32 is the exact one of numbers that are each changed by at most n u (Higham, Accuracy
    and Stability of Numerical Algorithms, 3.1; u = 2^-24). So the model in float64 is run with its weights and inputs
    changed by n u up or down, by chance, and the largest change of each output counts twice: once for each prediction.
    n is the longest sum over a weight's rows or over an input's row, and 16 at least, for the functions in between.

    Args:
        model: one of ours. arrays: for its inputs; whole numbers stay as they are.
    """
    wide = type(model).from_config(_widened(model.get_config()))
    weights = [weight.astype(np.float64) for weight in model.get_weights()]
    n = max(16, *(w.size // w.shape[-1] for w in weights if w.ndim and w.size), *(a[0].size for a in arrays))
    rng = np.random.default_rng(0)

    def predicted(relative: float) -> list[np.ndarray]:
        def changed(array: np.ndarray) -> np.ndarray:
            return array * (1 + relative * rng.choice([-1, 1], array.shape)) if array.dtype.kind == "f" else array

        wide.set_weights([changed(weight) for weight in weights])
        found = wide.predict([changed(a.astype(np.float64) if a.dtype.kind == "f" else a) for a in arrays])
        return list(found) if isinstance(found, (list, tuple)) else [found]

    exact = predicted(0)
    draws = [predicted(n * 2.0**-24) for _ in range(8)]
    return [
        2 * max(float(np.abs(draw[k] - whole).max(initial=0)) for draw in draws)
        + 2 * 2.0**-24 * np.abs(whole).max(initial=0)
        for k, whole in enumerate(exact)
    ]


def _widened(config: Any) -> Any:
    """A config with float64 in the place of float32."""
    if isinstance(config, dict):
        return {key: _widened(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(_widened(value) for value in config)
    return "float64" if isinstance(config, str) and config == "float32" else config


def assert_close64(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    """Equal to 1e-10 of the largest entry, or of 1: float64 leaves five digits of room over that."""
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype != np.float32
        if b.size:
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-10 * max(1.0, float(np.abs(b).max())))
