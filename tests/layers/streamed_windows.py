"""What a layer with a clock of its own promises in a stream: every prefix, and chunks of every size, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np


def built(layer: Any, x: np.ndarray) -> Any:
    """The layer with random weights."""
    layer.ensure_built(x)
    rng = np.random.default_rng(5)
    layer.set_weights([np.abs(rng.normal(size=weight.shape)) + 0.1 for weight in layer.get_weights()])
    return layer


def assert_steps_are_prefixes(layer: Any, x: np.ndarray) -> None:
    """Each step returns the newest step of a run on the prefix; what is not fresh is the one before; NaN at first."""
    B, T, state, before = x.shape[0], x.shape[1], layer.initial_state(x.shape[0]), 0
    previous = None
    for t in range(T):
        y, state = layer.step(x[:, t], state)
        alone, _ = layer.step(x[1:2, t], previous)
        np.testing.assert_array_equal(alone, y[1:2])
        previous = tuple(part[1:2] for part in state)
        ran, ran_state = layer.run(x[:, : t + 1], layer.initial_state(B))
        assert y.dtype == ran.dtype == x.dtype
        count = ran.shape[1]
        np.testing.assert_array_equal(y, ran[:, -1] if count else np.full_like(y, np.nan))
        if layer.own_clock:
            np.testing.assert_array_equal(state[-1], np.full(B, count > before))
        else:
            assert count == t + 1
        before = count
        for one, other in zip(state, ran_state, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(layer.run(x)[0], ran)


def assert_chunks_join(layer: Any, x: np.ndarray) -> None:
    whole, last = layer.run(x)
    for size in (1, 2, 3, 5, x.shape[1]):
        state, parts = layer.initial_state(x.shape[0]), []
        for start in range(0, x.shape[1], size):
            y, state = layer.run(x[:, start : start + size], state)
            parts.append(y)
            nothing, same = layer.run(x[:, :0], state)
            assert nothing.shape[1] == 0
            for one, other in zip(same, state, strict=True):
                np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
        for one, other in zip(state, last, strict=True):
            np.testing.assert_array_equal(one, other)
    nobody, _ = layer.run(x[:0])
    assert nobody.shape == (0, *whole.shape[1:])
