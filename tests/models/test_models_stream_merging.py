"""Streams of merges and Dot: of streamed arrays, and of a streamed one beside static ones, with their masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from topologies import random_weights

from everystep import Input, Model, layers
from everystep.errors import UnsupportedError
from everystep.layers.structure import flatten

B, T, S, I = 3, 6, 5, 4
rng = np.random.default_rng(17)
KINDS = ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"]
WIDE: Any = dict(dtype="float64")


def sequences(steps: int = T) -> np.ndarray:
    """Some steps are zeros, which Masking masks, in every row others."""
    return np.where(rng.random((B, steps, 1)) < 0.4, 0, rng.normal(size=(B, steps, I)))


def assert_streams(model: Model, x: dict[str, np.ndarray], static: dict[str, np.ndarray]) -> None:
    """Each step, and chunks, to the bit as predict on the prefix."""
    random_weights(model, rng)
    stream, chunks = (model.stream(B, static=static) for _ in range(2))
    for t in range(T):
        whole = flatten(model.predict({name: v[:, : t + 1] for name, v in x.items()} | static))
        stepped = flatten(stream.step({name: v[:, t] for name, v in x.items()}))
        for found, expected in zip(stepped, whole, strict=True):
            np.testing.assert_array_equal(found, expected[:, -1] if found.ndim < expected.ndim else expected)
    parts = [flatten(chunks.run({name: v[:, some] for name, v in x.items()})) for some in (np.s_[:2], np.s_[2:])]
    for first, second, step, expected in zip(*parts, stepped, whole, strict=True):
        joined = np.concatenate([first, second], axis=1) if step.ndim < expected.ndim else second
        np.testing.assert_array_equal(joined, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_two_streamed_sequences(kind: str) -> None:
    x, y = (Input((None, I), name=name, **WIDE) for name in "xy")
    masked = layers.Masking(**WIDE)
    for given in ([masked(x), masked(y)], [masked(x), y]):
        merged = getattr(layers, kind)(**WIDE)(given)
        model = Model([x, y], [merged, layers.LSTM(3, **WIDE)(merged)])
        assert_streams(model, {"x": sequences(), "y": sequences()}, {})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(I,), (1, I), (1, 1)])
def test_a_streamed_sequence_beside_a_static_array(kind: str, shape: tuple[int, ...]) -> None:
    x, v = Input((None, I), name="x", **WIDE), Input(shape, name="v", **WIDE)
    merged = getattr(layers, kind)(**WIDE)([layers.Masking(**WIDE)(x), layers.Dense(shape[-1], "tanh", **WIDE)(v)])
    model = Model([x, v], [merged, layers.GRU(3, **WIDE)(merged)])
    assert_streams(model, {"x": sequences()}, {"v": rng.normal(size=(B, *shape))})


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("axes", "shape"), [(2, (S, I)), ((2, 1), (I, S)), ((-1, -1), (S, I)), ((2, 1), (I,))])
def test_dot_with_a_static_array(axes: Any, shape: tuple[int, ...], normalize: bool) -> None:
    x, v = Input((None, I), name="x", **WIDE), Input(shape, name="v", **WIDE)
    product = layers.Dot(axes, normalize, **WIDE)([layers.LSTM(I, return_sequences=True, **WIDE)(x), v])
    made = [product, layers.GRU(3, **WIDE)(product)] if len(shape) > 1 else product
    assert_streams(Model([x, v], made), {"x": sequences()}, {"v": rng.normal(size=(B, *shape))})


def test_a_static_sequence_is_refused() -> None:
    x, v = Input((None, I), name="x"), Input((T, I), name="v")
    for merged in (layers.Add(name="l")([x, v]), layers.Dot(1, name="l")([x, v]), layers.Dot(2, name="l")([v, x])):
        with pytest.raises(UnsupportedError, match="layer 'l' cannot go one step at a time: it"):
            Model([x, v], merged).stream(B, static={"v": np.zeros((B, T, I), np.float32)})
    both = Input((None, I), name="y")
    with pytest.raises(UnsupportedError, match="layer 'l' cannot go one step at a time: it"):
        Model([x, both], layers.Dot(2, name="l")([x, both])).stream(B)
