"""Normalisation and rescaling, against Keras's; step by step; in files; and what they refuse."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from rounding import EPS, Rounded, assert_within
from tolerances import assert_close64
from topologies import Names
from wide_floats import float64

import everystep
from everystep import layers
from everystep.errors import DtypeError, OptionError, ShapeError, UnsupportedError

B, T, I = 3, 6, 5
X = np.random.default_rng(7).normal(2, 3, size=(B, T, I))
MEAN = [0.5, -1.0, 2.0, 0.0, 3.0]
KINDS: list[tuple[str, dict[str, Any]]] = [
    *(
        ("LayerNormalization", dict(axis=axis, **more))
        for axis in (-1, 2, [1, 2], 1, (-1,))
        for more in ({}, dict(epsilon=0.2, center=False), dict(scale=False), dict(rms_scaling=True))
    ),
    *(
        ("BatchNormalization", dict(axis=axis, **more))
        for axis in (-1, 2, 1)
        for more in (
            {},
            dict(epsilon=0.2, center=False, renorm=True),
            dict(scale=False),
            dict(scale=False, center=False),
        )
    ),
    *(("UnitNormalization", dict(axis=axis)) for axis in (-1, 1, [1, 2])),
    *(("Normalization", dict(axis=axis, invert=invert)) for axis in (-1, 1, (1, 2), None) for invert in (False, True)),
    ("Normalization", dict(mean=MEAN, variance=[1.0, 2.0, 0.0, 4.0, 5.0])),
    ("Normalization", dict(axis=None, mean=1.5, variance=2.5, invert=True)),
    ("Normalization", dict(axis=(1, 2), mean=MEAN, variance=[1.0, 2.0, 3.0, 4.0, 5.0])),
    ("Rescaling", dict(scale=0.1, offset=-2)),
    ("Rescaling", dict(scale=MEAN, offset=[1, 2, 3, 4, 5])),
]


def both(kind: str, options: dict[str, Any], x: np.ndarray, dtype: str = "float64") -> tuple[Any, Any]:
    ours, theirs = (getattr(library, kind)(**options, dtype=dtype) for library in (layers, keras.layers))
    ours(x)
    theirs(x)
    rng = np.random.default_rng(9)
    weights = [np.full((), 3) if w.dtype.kind == "i" else rng.uniform(0.5, 2, w.shape) for w in ours.get_weights()]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    if kind == "Normalization":
        theirs.finalize_state()
    assert [w.name for w in theirs.weights] == list(ours.named_weights)
    return ours, theirs


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`, which is deprecated:UserWarning")
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_as_keras(kind: str, options: dict[str, Any]) -> None:
    with float64():
        for x in (X, X[:1], np.zeros((B, T, I))):
            ours, theirs = both(kind, options, x)
            assert_close64([ours(x)], [np.asarray(theirs(x))])


@pytest.mark.parametrize(("kind", "options"), KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_and_rows_to_the_bit(kind: str, options: dict[str, Any], dtype: str) -> None:
    for features in (I, 300) if "mean" not in options and kind != "Rescaling" else (I,):
        x = np.random.default_rng(8).normal(size=(B, T, features)).astype(dtype)
        layer = getattr(layers, kind)(**options, dtype=dtype)
        layer(x)
        rng = np.random.default_rng(9)
        layer.set_weights([np.abs(rng.normal(size=w.shape)).round(1) * 10 for w in layer.get_weights()])
        whole, _ = layer.run(x)
        assert whole.dtype == dtype
        for rows in (np.s_[1:2], np.s_[::-1], np.s_[:0]):
            np.testing.assert_array_equal(layer.run(x[rows])[0], whole[rows])
        strided = np.asfortranarray(x)
        np.testing.assert_array_equal(layer.run(strided)[0], whole)
        if layer.step_obstacle():
            assert options["axis"] not in (-1, 2, (-1,), None)
            with pytest.raises(UnsupportedError, match="it goes over the time axis"):
                layer.step(x[:, 0])
            continue
        for t in range(T):
            np.testing.assert_array_equal(layer.step(x[:, t])[0], whole[:, t])
            np.testing.assert_array_equal(layer.run(x[:, t : t + 1])[0][:, 0], whole[:, t])


def inverse_root(v: Rounded) -> Rounded:
    """1 / sqrt(v): a root and a division."""
    value, error = v.closed()
    y = 1 / np.sqrt(value)
    change = np.maximum(*(np.abs(1 / np.sqrt(value + sign * error) - y) for sign in (-1, 1)))
    return Rounded(y, change + 2 * EPS * np.abs(y))


def mean_of(x: Rounded) -> Rounded:
    return (x.sum(-1) * (1 / x.shape[-1]))[..., None]


def layer_normalization(x: Rounded, gamma: Any, beta: Any) -> Rounded:
    centred = x - mean_of(x)
    factor = inverse_root(mean_of(centred * centred) + 1e-3) * gamma
    return x * factor - mean_of(x) * factor + beta


def batch_normalization(x: Rounded, gamma: Any, beta: Any, mean: Any, variance: Any) -> Rounded:
    factor = inverse_root(Rounded(variance) + 1e-3) * gamma
    return x * factor + (beta + -(factor * mean))


def normalization(x: Rounded, mean: Any, variance: Any, _: Any) -> Rounded:
    return (x - mean) * inverse_root(Rounded(variance))


@pytest.mark.parametrize(
    ("layer", "equation"),
    [
        (layers.LayerNormalization(), layer_normalization),
        (layers.BatchNormalization(), batch_normalization),
        (layers.Normalization(), normalization),
        (layers.UnitNormalization(), lambda x: x * inverse_root(mean_of(x * x) * I)),
        (layers.Rescaling(np.float32(0.3), MEAN), lambda x: x * np.float32(0.3).astype(float) + np.array(MEAN)),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_float32_is_off_by_its_rounding_alone(layer: Any, equation: Any) -> None:
    x, rng = X.astype(np.float32), np.random.default_rng(4)
    layer(x)
    layer.set_weights([rng.uniform(0.1, 2, w.shape).astype(w.dtype) for w in layer.get_weights()])
    exact = equation(Rounded(x.astype(float)), *(w.astype(float) for w in layer.get_weights()))
    assert_within(layer(x), *exact.closed(), layer.kind)


def test_a_model_of_them_between_masks(tmp_path: Any) -> None:
    """Masks go through them, to the recurrent layer."""
    k = Names(keras)
    with float64():
        one = k.Input((None, I))
        y = k.Rescaling(np.array(MEAN), offset=0.5)(k.Normalization()(one))
        y = k.Normalization(mean=MEAN, variance=[1.0, 2.0, 3.0, 4.0, 5.0], invert=True)(k.Masking(0.5)(y))
        y = k.BatchNormalization()(k.LayerNormalization(axis=[-1])(y))
        theirs = k.Model(one, [k.LSTM(3)(y), k.GRU(3)(k.UnitNormalization()(y))])
        rng = np.random.default_rng(3)
        theirs.set_weights([rng.uniform(0.5, 1.5, w.shape).astype(w.dtype) for w in theirs.get_weights()])
        mean = theirs.layers[1].get_weights()[0]
        theirs.save(tmp_path / "theirs.keras")
        theirs = keras.saving.load_model(tmp_path / "theirs.keras")  # Normalization reads its weights as it loads
        ours = everystep.load_model(tmp_path / "theirs.keras")
        x = X.copy()
        x[0, -2:] = x[1, 1] = mean  # becomes 0, then 0.5, which is masked
        found = ours.predict(x)
        assert_close64(list(found), [np.asarray(y) for y in theirs(x)])
        for whole, shorter in zip(found, ours.predict(x[:1, :-2]), strict=True):
            np.testing.assert_array_equal(whole[:1], shorter)


def test_refusals() -> None:
    with pytest.raises(ShapeError, match="must name axes of known size"):
        layers.LayerNormalization(axis=0, dtype="float64")(X)
    with pytest.raises(ShapeError, match="must name axes of known size"):
        layers.BatchNormalization(axis=3, dtype="float64")(X)
    with pytest.raises(OptionError, match="axis must be a whole number"):
        layers.LayerNormalization(axis="last")
    with pytest.raises(OptionError, match="mean and variance go together"):
        layers.Normalization(mean=1.0)
    with pytest.raises(ShapeError, match="does not broadcast"):
        layers.Normalization(mean=[1.0, 2.0], variance=[1.0, 2.0], dtype="float64")(X)
    with pytest.raises(OptionError, match="scale must be a number or lists of numbers"):
        layers.Rescaling("big")
    rescaled = layers.Rescaling(0.5)(np.arange(6).reshape(2, 3))
    assert rescaled.dtype == np.float32
    np.testing.assert_array_equal(rescaled, np.arange(6).reshape(2, 3) / 2)
    with pytest.raises(DtypeError, match="is float32, and takes that, whole numbers and bools"):
        layers.Rescaling(0.5)(layers.Input((3,), dtype="float64"))
