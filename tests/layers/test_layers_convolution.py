"""Convolutions, cropping, padding and repeating, against Keras's; in streams; and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from beside_keras import assert_same
from rounding import EPS, assert_within
from streamed_windows import assert_chunks_join, assert_steps_are_prefixes, built

from everystep import layers
from everystep.errors import OptionError, ShapeError, UnsupportedError

B, T, I = 3, 11, 4
X = np.random.default_rng(1).normal(size=(B, T, I))
KINDS: list[tuple[str, dict[str, Any]]] = [
    *(
        ("Conv1D", dict(filters=6, kernel_size=3, padding=padding, **more))
        for padding in ("valid", "same", "causal")
        for more in (
            dict(activation="relu"),
            dict(strides=2, activation="softmax"),
            dict(dilation_rate=3, use_bias=False),
            dict(groups=2, activation="tanh"),
            dict(groups=2, strides=4),
        )
    ),
    ("Conv1D", dict(filters=2, kernel_size=4, padding="same")),
    ("Conv1D", dict(filters=2, kernel_size=1, strides=3, padding="same")),
    ("Conv1D", dict(filters=2, kernel_size=1)),
    *(
        (kind, dict(**first, kernel_size=3, padding=padding, **more))
        for kind, first in (("SeparableConv1D", dict(filters=5)), ("DepthwiseConv1D", {}))
        for padding in ("valid", "same")
        for more in (
            dict(depth_multiplier=2, activation="tanh"),
            dict(strides=2, use_bias=False),
            dict(dilation_rate=2),
        )
    ),
    ("Cropping1D", dict(cropping=(2, 1))),
    ("Cropping1D", dict(cropping=0)),
    ("ZeroPadding1D", dict(padding=(2, 1))),
    ("ZeroPadding1D", dict(padding=0)),
    ("UpSampling1D", dict(size=3)),
    ("UpSampling1D", dict(size=1)),
]


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_as_keras(kind: str, options: dict[str, Any]) -> None:
    for rows in (X, X[:1]):
        assert_same(kind, rows, **options)


@pytest.mark.parametrize(
    ("kind", "options"),
    [(kind, options) for kind, options in KINDS if kind in ("Conv1D", "SeparableConv1D", "ZeroPadding1D")][::3],
)
def test_channels_first_as_keras(kind: str, options: dict[str, Any]) -> None:
    if options.get("activation") != "softmax":
        assert_same(kind, np.ascontiguousarray(X.swapaxes(1, 2)), data_format="channels_first", **options)


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_streamed(kind: str, options: dict[str, Any], dtype: str) -> None:
    x = X.astype(dtype)
    layer = built(getattr(layers, kind)(**options, dtype=dtype), x)
    if layer.step_obstacle():
        assert options.get("padding") == "same" or kind in ("ZeroPadding1D", "UpSampling1D")
        with pytest.raises(UnsupportedError, match="cannot go one step at a time"):
            layer.step(x[:, 0])
        return
    assert_steps_are_prefixes(layer, x)
    assert_chunks_join(layer, x)


# How many roundings a number is the sum of: of products, each rounded, and a bias.
ROUNDINGS: dict[str, Callable[[dict[str, Any]], int]] = {
    "Conv1D": lambda o: o["kernel_size"] * I // o.get("groups", 1) + 1,
    "DepthwiseConv1D": lambda o: o["kernel_size"] + 1,
    "SeparableConv1D": lambda o: o["kernel_size"] + I * o.get("depth_multiplier", 1) + 1,
}


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_float32_is_off_by_its_rounding_alone(kind: str, options: dict[str, Any]) -> None:
    """A sum of n numbers is off by n eps times the sum of their absolute values at most: see rounding.py."""
    options = {name: value for name, value in options.items() if name != "activation"}
    narrow, wide, sizes = (getattr(layers, kind)(**options, dtype=d) for d in ("float32", "float64", "float64"))
    x, rng = X.astype(np.float32), np.random.default_rng(4)
    for layer in (narrow, wide, sizes):
        layer(x.astype(layer.dtype))
    weights = [rng.normal(size=w.shape).astype(np.float32) for w in narrow.get_weights()]
    for layer in (narrow, wide):
        layer.set_weights(weights)
    sizes.set_weights([np.abs(w) for w in weights])
    bound = ROUNDINGS.get(kind, lambda _: 0)(options) * EPS * sizes(np.abs(x.astype(float)))
    assert_within(narrow(x), wide(x.astype(float)), bound, kind)


def test_rows_of_different_phases_step_and_do_not_run() -> None:
    layer = built(layers.Conv1D(2, 3, strides=2, name="c", dtype="float64"), X)
    _, state = layer.step(X[:, 0])
    mixed = tuple(np.concatenate([old[:1], new[1:]]) for old, new in zip(layer.initial_state(B), state, strict=True))
    with pytest.raises(OptionError, match="layer 'c': the rows of its state wait for different steps"):
        layer.run(X, mixed)
    for t in range(1, 4):
        _, mixed = layer.step(X[:, t], mixed)
    np.testing.assert_array_equal(mixed[-1], [True, False, False])
    np.testing.assert_array_equal(mixed[-2][0], layer.run(X[:1, 1:4])[0][0, 0])


def test_refusals() -> None:
    with pytest.raises(ShapeError, match="layer 'c' needs sequences of 5 steps or more, for one output; got 3 steps"):
        built(layers.Conv1D(2, 5, name="c", dtype="float64"), X).run(X[:, :3])
    for convolution in (layers.Conv1D(2, 5), layers.SeparableConv1D(2, 5), layers.DepthwiseConv1D(5)):
        with pytest.raises(ShapeError, match="needs sequences of 5 steps"):
            convolution(layers.Input((3, 2)))
        with pytest.raises(ShapeError, match="needs sequences of 5 steps"):
            convolution(np.ones((B, 3, 2), np.float32))
    assert layers.Conv1D(2, 1)(np.ones((B, 0, 3), np.float32)).shape == (B, 0, 2)
    with pytest.raises(ShapeError, match="the features must be a multiple of groups; got 4 features in 3"):
        layers.Conv1D(3, 2, groups=3)(X)
    with pytest.raises(OptionError, match="filters must be a multiple of groups"):
        layers.Conv1D(3, 2, groups=2)
    with pytest.raises(OptionError, match="not both greater than 1"):
        layers.Conv1D(3, 2, strides=2, dilation_rate=2)
    with pytest.raises(OptionError, match="padding must be one of valid, same; got 'causal'"):
        layers.SeparableConv1D(3, 2, padding="causal")
    with pytest.raises(OptionError, match="kernel_size must be a whole number from 1 on; got 0"):
        layers.Conv1D(3, 0)
    with pytest.raises(OptionError, match="kernel_size must be one whole number; got"):
        layers.Conv1D(3, (2, 2))
    with pytest.raises(ShapeError, match=r"takes \(B,T,I\), with a known number of features; got \(3, 11\)"):
        layers.Conv1D(3, 2)(X[..., 0])
    with pytest.raises(UnsupportedError, match="goes along the last axis, which is time"):
        layers.Conv1D(3, 2, activation="softmax", data_format="channels_first")
    with pytest.raises(OptionError, match="cropping must be a whole number from 0 on, or two"):
        layers.Cropping1D((1, -1))
    with pytest.raises(ShapeError, match="needs sequences of 12 steps or more"):
        layers.Cropping1D((6, 5))(X)
