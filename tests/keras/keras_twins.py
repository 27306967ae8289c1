"""Ours and Keras's layer with the same random weights: their values and gradients, and how far they may differ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import keras
import numpy as np
from keras.src.backend.common import dtypes

from everystep.keras.layers import LSTM

B, T, I, H = 3, 4, 2, 3


@contextmanager
def float64() -> Iterator[None]:
    """64-bit floats in JAX, and in Keras's tanh, which otherwise casts float64 to float32 under JAX."""
    jax.config.update("jax_enable_x64", True)
    keras_casts = dict(dtypes.BIT64_TO_BIT32_DTYPE)
    dtypes.BIT64_TO_BIT32_DTYPE.clear()
    try:
        yield
    finally:
        dtypes.BIT64_TO_BIT32_DTYPE.update(keras_casts)
        jax.config.update("jax_enable_x64", False)


def random_weights(layer: keras.Layer, rng: np.random.Generator) -> None:
    layer.set_weights([rng.normal(0, 0.7, w.shape) for w in layer.get_weights()])


def twins(
    rng: np.random.Generator, shape: tuple[int, ...] = (B, T, I), ours: Any = (), **options: Any
) -> tuple[Any, Any]:
    """Our layer with `options` and `ours`, and Keras's with `options`, built for `shape`, with the same weights."""
    units = options.pop("units", H)
    pair = LSTM(units, **options, **dict(ours)), keras.layers.LSTM(units, use_cudnn=False, **options)
    for layer in pair:
        layer.build(shape)
    random_weights(pair[0], rng)
    pair[1].set_weights(pair[0].get_weights()[: len(pair[1].weights)])  # all but a trainable initial state
    return pair


def outputs(layer: keras.Layer, *args: Any, **call: Any) -> list[np.ndarray]:
    return [np.asarray(v) for v in keras.tree.flatten(layer(*args, **call))]


def stateless(layer: keras.Layer, trainable: list[Any], *args: Any, **call: Any) -> Any:
    """The layer's outputs as a function of its trainable weights."""
    return layer.stateless_call(trainable, [v.value for v in layer.non_trainable_variables], *args, **call)[0]


def gradients(layer: keras.Layer, x: np.ndarray, initial_state: Any, seed: int, **call: Any) -> list[np.ndarray]:
    """Of sum(d * output) over all outputs, d random: by x, the initial state (if any) and every weight."""

    def loss(x: Any, initial_state: Any, trainable: Any) -> Any:
        out = stateless(layer, trainable, x, initial_state=initial_state, **call)
        rng = np.random.default_rng(seed)
        return sum((rng.normal(size=v.shape).astype(x.dtype) * v).sum() for v in keras.tree.flatten(out))

    trainable = [v.value for v in layer.trainable_variables]
    if initial_state is None:
        found = jax.grad(lambda x, trainable: loss(x, None, trainable), (0, 1))(x, trainable)
    else:
        found = jax.grad(loss, (0, 1, 2))(x, initial_state, trainable)
    return [np.asarray(v) for v in keras.tree.flatten(found)]


def value_tolerance(layer: keras.Layer, x: np.ndarray) -> float:
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
