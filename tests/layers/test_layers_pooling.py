"""Pooling in windows and over all steps, against Keras's; in streams; masks; and what is refused."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from beside_keras import assert_same, assert_same_model
from rounding import EPS, assert_within
from streamed_windows import assert_chunks_join, assert_steps_are_prefixes, built
from tolerances import assert_close64
from wide_floats import float64

from everystep import layers
from everystep.errors import OptionError, ShapeError, UnsupportedError

B, T, I = 3, 11, 4
X = np.random.default_rng(2).normal(size=(B, T, I)) - 2  # zeros in the place of what is no step would show
KINDS: list[tuple[str, dict[str, Any]]] = [
    (kind, dict(pool_size=size, strides=strides, padding=padding))
    for kind in ("MaxPooling1D", "AveragePooling1D")
    for padding in ("valid", "same")
    for size, strides in ((2, None), (3, 1), (4, 3), (2, 5), (1, None), (3, None))
]
GLOBAL = ("GlobalMaxPooling1D", "GlobalAveragePooling1D")


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_as_keras(kind: str, options: dict[str, Any]) -> None:
    for rows in (X, X[:1]):
        assert_same(kind, rows, **options)
    assert_same(kind, np.ascontiguousarray(X.swapaxes(1, 2)), data_format="channels_first", **options)


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_streamed(kind: str, options: dict[str, Any], dtype: str) -> None:
    x = X.astype(dtype)
    layer = built(getattr(layers, kind)(**options, dtype=dtype), x)
    if layer.step_obstacle():
        assert options["padding"] == "same"
        with pytest.raises(UnsupportedError, match="stands in part after the sequence"):
            layer.step(x[:, 0])
        return
    assert_steps_are_prefixes(layer, x)
    assert_chunks_join(layer, x)


@pytest.mark.parametrize(("kind", "options"), [*KINDS, *((kind, {}) for kind in GLOBAL)])
def test_float32_is_off_by_its_rounding_alone(kind: str, options: dict[str, Any]) -> None:
    """The largest number is none; an average a sum and a division; one over all steps is rounded at its end."""
    narrow, wide = (getattr(layers, kind)(**options, dtype=dtype) for dtype in ("float32", "float64"))
    x = X.astype(np.float32)
    n = {"AveragePooling1D": options.get("pool_size"), "GlobalAveragePooling1D": 1}.get(kind, 0)
    assert_within(narrow(x), wide(x.astype(float)), n * EPS * wide(np.abs(x.astype(float))), kind)


@pytest.mark.parametrize("kind", GLOBAL)
@pytest.mark.parametrize("keepdims", [False, True])
def test_global_as_keras(kind: str, keepdims: bool) -> None:
    assert_same(kind, X, keepdims=keepdims)
    assert_same(kind, np.ascontiguousarray(X.swapaxes(1, 2)), keepdims=keepdims, data_format="channels_first")


@pytest.mark.parametrize("kind", GLOBAL)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_global_streamed_to_the_bit(kind: str, keepdims: bool, dtype: str) -> None:
    x = np.ascontiguousarray(X, dtype)
    layer = built(getattr(layers, kind)(keepdims=keepdims, dtype=dtype), x)
    mask = np.random.default_rng(3).random((B, T)) < 0.6
    mask[0, :3] = False
    for given in [None] if kind == "GlobalMaxPooling1D" else [None, mask]:
        state = layer.initial_state(B)
        for t in range(T):
            y, state = layer.step(x[:, t], state, mask=None if given is None else given[:, t])
            prefix = dict(mask=None if given is None else given[:, : t + 1])
            whole, after = layer.run(x[:, : t + 1], **prefix)
            half = layer.run(x[:, : t // 2], layer.initial_state(B), mask=None if given is None else given[:, : t // 2])
            rest = layer.run(x[:, t // 2 : t + 1], half[1], mask=None if given is None else given[:, t // 2 : t + 1])
            row = layer.run(x[1:2, : t + 1], mask=None if given is None else given[1:2, : t + 1])[0]
            for other in (whole, rest[0]):
                np.testing.assert_array_equal(y, other)
            np.testing.assert_array_equal(row, whole[1:2])
            for one, other in zip(state, after, strict=True):
                np.testing.assert_array_equal(one, other)


def test_the_average_leaves_out_masked_steps_and_the_maximum_does_not() -> None:
    mask = np.random.default_rng(4).random((B, T)) < 0.5
    mask[1] = False
    with float64():
        ours, theirs = (library.GlobalAveragePooling1D(dtype="float64") for library in (layers, keras.layers))
        found = ours(X, mask=mask)
        assert np.isnan(found[1]).all()
        assert_close64([found[[0, 2]]], [np.asarray(theirs(X, mask=mask))[[0, 2]]])
    padded = X.copy()
    padded[~mask] = np.nan
    np.testing.assert_array_equal(ours(padded, mask=mask), found)


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask:UserWarning")
def test_models_with_masks(tmp_path: Any) -> None:
    x = X.astype(np.float32)
    x[0, 4:6] = 0

    def build(k: Any) -> Any:
        one = k.Input((T, I))
        seen = k.Masking()(one)
        pooled = k.MaxPooling1D(2)(k.Conv1D(5, 3, padding="causal", activation="tanh")(seen))
        last = k.LSTM(3)(k.AveragePooling1D(2, padding="same")(pooled))
        return [one], [
            k.GlobalAveragePooling1D()(seen),
            k.GlobalMaxPooling1D()(seen),
            last,
            k.GRU(2)(k.Cropping1D(1)(seen)),
        ]

    assert_same_model(build, [x], tmp_path)


def test_a_long_stream_keeps_its_average() -> None:
    layer, n = layers.GlobalAveragePooling1D(), 200_000
    x = np.random.default_rng(6).normal(1000, 1, (1, n, 2)).astype(np.float32)
    layer(x[:, :1])
    expected = x.mean(axis=1, dtype=np.float64)
    # The sum is kept in float64: n roundings of it are far less than the one to float32.
    np.testing.assert_allclose(layer(x), expected, rtol=float(np.finfo(np.float32).eps))


def test_refusals() -> None:
    with pytest.raises(ShapeError, match="needs sequences of one step or more"):
        layers.GlobalMaxPooling1D()(X[:, :0])
    with pytest.raises(ShapeError, match="needs sequences of 5 steps or more"):
        layers.MaxPooling1D(5)(layers.Input((3, 2)))
    with pytest.raises(OptionError, match="padding must be one of valid, same; got 'causal'"):
        layers.AveragePooling1D(2, padding="causal")
    with pytest.raises(OptionError, match="strides must be a whole number from 1 on; got 0"):
        layers.MaxPooling1D(2, strides=0)
    with pytest.raises(OptionError, match="data_format must be one of channels_last, channels_first"):
        layers.MaxPooling1D(2, data_format="last")
    with pytest.raises(ShapeError, match="the state must be 1 arrays of shape"):
        built(layers.GlobalMaxPooling1D(dtype="float64"), X).run(X, ())
    assert layers.MaxPooling1D(5, dtype="float64")(X[:, :3]).shape == (B, 0, I)  # as Keras
    assert layers.MaxPool1D is layers.MaxPooling1D
