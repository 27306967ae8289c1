"""The other layers and the initializers, against Keras's; and what they refuse."""

from __future__ import annotations

from typing import Any

import equations
import keras
import numpy as np
import pytest
from tolerances import assert_close64
from wide_floats import float64

from everystep import layers
from everystep.cells import ACTIVATIONS
from everystep.errors import DtypeError, GraphError, OptionError, ShapeError, UnsupportedError
from everystep.layers.initializers import Initializer, initializer

B, T, K, N = 3, 4, 5, 6


@pytest.mark.parametrize("name", ["linear", "silu", "softmax", "log_softmax"])
def test_dense_and_activation(name: str) -> None:
    rng = np.random.default_rng(len(name))
    x = rng.normal(0, 3, (B, T, K))
    with float64():
        ours, theirs = (library.Dense(N, name, dtype="float64") for library in (layers, keras.layers))
        ours(x)
        theirs(x)
        ours.set_weights([rng.normal(size=w.shape) for w in ours.get_weights()])
        theirs.set_weights(ours.get_weights())
        assert_close64([ours(x), ours(x[:, 0])], [np.asarray(theirs(x)), np.asarray(theirs(x[:, 0]))])
        pair = [library.Activation(name, dtype="float64") for library in (layers, keras.layers)]
        assert_close64([pair[0](x)], [np.asarray(pair[1](x))])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_elementwise_activation(name: str) -> None:
    x = np.random.default_rng(len(name)).normal(0, 3, (B, T, K))
    expected = equations.ACTIVATIONS[name][0](x)
    dense = layers.Dense(K, name, kernel_initializer="identity", dtype="float64")
    assert_close64([layers.Activation(name, dtype="float64")(x), dense(x)], [expected, expected])


def test_dense_float32_and_softmax_of_large_numbers() -> None:
    rng = np.random.default_rng(30)
    x = rng.normal(size=(B, K)).astype(np.float32)
    layer = layers.Dense(N, use_bias=False)
    layer(x)
    (kernel,) = layer.get_weights()
    # A sum of K products, each rounded, in any order: off by at most K eps times the sum of absolute values.
    bound = K * np.finfo(np.float32).eps * (np.abs(x).astype(float) @ np.abs(kernel))
    assert (np.abs(layer(x) - x.astype(float) @ kernel) <= bound).all()
    huge = np.array([[1000.0, 999.0, -1000.0]], np.float32)
    found = layers.Activation("softmax")(huge)
    np.testing.assert_allclose(found, [[1 / (1 + np.exp(-1)), np.exp(-1) / (1 + np.exp(-1)), 0]], rtol=1e-6)
    np.testing.assert_allclose(layers.Activation("log_softmax")(huge)[0, 2], -2000 - np.log1p(np.exp(-1)), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "float32", "float64"])
def test_embedding(dtype: str) -> None:
    rows = np.arange(10, dtype=np.float32).reshape(5, 2)
    ids = np.array([[0, 4, 1], [2, 2, 3]], dtype)
    layer = layers.Embedding(5, 2, weights=rows, mask_zero=True)
    np.testing.assert_array_equal(layer(ids), rows[ids.astype(int)])
    np.testing.assert_array_equal(layer.compute_mask(ids, None), ids != 0)
    assert layers.Embedding(5, 2).compute_mask(ids, None) is None


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([[0, 5]], OptionError, r"layer 'e' has ids from 0 to 4 \(input_dim=5\); got 5 at \(0, 1\)"),
        ([[0], [-1]], OptionError, r"got -1 at \(1, 0\)"),
        ([[0.5]], DtypeError, "takes ids, which are whole numbers; got 0.5"),
        ([[np.nan]], DtypeError, "got nan"),
        ([[np.inf]], DtypeError, "got inf"),
        ([[True]], DtypeError, "got bool"),
    ],
)
def test_embedding_refuses_what_is_no_id(ids: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        layers.Embedding(5, 2, name="e")(np.array(ids))


def test_masking() -> None:
    rng = np.random.default_rng(31)
    x = rng.integers(0, 2, (20, T, 2)).astype(np.float32)
    for value in (0.0, 1, np.float64(1)):
        ours, theirs = layers.Masking(value), keras.layers.Masking(float(value))
        np.testing.assert_array_equal(ours(x), np.asarray(theirs(x)))
        np.testing.assert_array_equal(ours.compute_mask(x, None), np.asarray(theirs.compute_mask(x)))


@pytest.mark.parametrize("axis", [1, 2, -1, -2])
def test_concatenate_and_its_mask(axis: int) -> None:
    rng = np.random.default_rng(32)
    a, b = rng.normal(size=(B, T, K)).astype(np.float32), rng.normal(size=(B, T, K)).astype(np.float32)
    ours, theirs = layers.Concatenate(axis), keras.layers.Concatenate(axis)
    np.testing.assert_array_equal(ours([a, b]), np.asarray(theirs([a, b])))
    mask = rng.random((B, T)) < 0.5
    for masks in ([mask, None], [None, mask], [mask, ~mask], [None, None]):
        found, expected = ours.compute_mask([a, b], masks), theirs.compute_mask([a, b], masks)
        assert (found is None) == (expected is None)
        if found is not None:
            np.testing.assert_array_equal(found, np.asarray(expected))


def test_dropout_does_nothing() -> None:
    x = np.random.default_rng(33).normal(size=(B, K)).astype(np.float32)
    np.testing.assert_array_equal(layers.Dropout(0.9)(x), x)


x32 = np.zeros((B, K), np.float32)
REFUSED = [
    (lambda: layers.Dense(N, name="d", lora_rank=2), UnsupportedError, "layer 'd': lora_rank is not supported"),
    (
        lambda: layers.Dense(N, activation="gluon", name="d"),
        UnsupportedError,
        "layer 'd': activation 'gluon' is not one of",
    ),
    (lambda: layers.Dense(N)(x32[0]), ShapeError, r"takes \(B,...,K\), with a known last size; got \(5,\)"),
    (lambda: layers.Dense(N)(layers.Input((None,))), ShapeError, r"with a known last size; got \(None, None\)"),
    (lambda: layers.Dropout(1.5), OptionError, "rate must be a number from 0 to 1; got 1.5"),
    (lambda: layers.Masking("x"), OptionError, "mask_value must be a number; got 'x'"),
    (lambda: layers.Embedding(0, 2), OptionError, "input_dim must be a whole number from 1 on; got 0"),
    (lambda: layers.Embedding(True, 2), OptionError, "input_dim must be a whole number from 1 on; got True"),
    (lambda: layers.Concatenate()(x32), ShapeError, "takes a list of arrays; got ndarray"),
    (lambda: layers.Concatenate()([x32, x32[:2]]), ShapeError, r"differ along axis -1 alone; got \(3, 5\), \(2, 5\)"),
    (lambda: layers.Concatenate(3)([x32, x32]), ShapeError, "differ along axis 3 alone"),
    (lambda: layers.Concatenate()([x32, x32 > 0]), DtypeError, "takes arrays of one dtype; got float32, bool"),
    (lambda: layers.Input(3), OptionError, r"shape must be a tuple; got 3: write \(3,\) for one axis"),
    (lambda: layers.Input((3, -1)), OptionError, "shape must hold whole numbers and None"),
    (lambda: layers.Input(), OptionError, "needs shape or batch_shape, and not both"),
    (lambda: layers.Input((3,), dtype="string"), UnsupportedError, "dtype 'string' is not one of bool"),
    (lambda: layers.Input((3,), dtype="complex64"), UnsupportedError, "dtype 'complex64' is not one of bool"),
    (lambda: layers.Input((3,), sparse=True), UnsupportedError, "sparse=True is not supported"),
    (lambda: layers.Dense(N)(layers.Input((3,)), x32), OptionError, "takes 1 arguments"),
    (
        lambda: layers.LSTM(N)(layers.Input((3, 2)), mask=x32),
        GraphError,
        "with a ndarray in its mask: make that an Input",
    ),
    (lambda: layers.Dense(N).get_weights() or layers.Dense(N).count_params(), GraphError, "has no weights yet"),
    (lambda: layers.Dense(N)(None), OptionError, "called without its inputs"),
    (lambda: np.asarray(layers.Input((3,))), TypeError, "has no numbers: make a Model"),
    (lambda: iter(layers.LSTM(N)(layers.Input((3, 2)))), TypeError, "returns one tensor, not several"),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_refusals_say_what_to_do(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


# ---- Initializers ----

KINDS = {
    "zeros": {},
    "ones": {},
    "constant": {"value": 0.3},
    "identity": {"gain": 2.0},
    "random_normal": {"mean": 1.0, "stddev": 0.5},
    "random_uniform": {"minval": -1.0, "maxval": 3.0},
    "truncated_normal": {"mean": 0.5, "stddev": 2.0},
    "glorot_uniform": {},
    "glorot_normal": {},
    "he_uniform": {},
    "he_normal": {},
    "lecun_uniform": {},
    "lecun_normal": {},
    "variance_scaling": {"scale": 3.0, "mode": "fan_out", "distribution": "untruncated_normal"},
    "orthogonal": {"gain": 1.5},
}


@pytest.mark.parametrize("name", KINDS)
def test_initializers_draw_from_keras_distributions(name: str) -> None:
    keras.utils.set_random_seed(0)  # ours follow NumPy's; the farthest of 15,000 draws scatters
    options = KINDS[name]
    theirs = keras.initializers.get({"class_name": name, "config": dict(options)})
    config = keras.initializers.serialize(theirs)
    if name == "identity":
        config["config"]["gain"] = 2.0  # Keras leaves it out, and so loses it
    ours = initializer(config)
    assert ours.get_config() == config
    assert Initializer(name, **options).get_config() == config
    shape = (60, 250)
    a, b = ours(shape, "float64"), np.asarray(theirs(shape), np.float64)
    assert a.dtype == np.float64
    if name in ("zeros", "ones", "constant", "identity"):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    elif name == "orthogonal":
        np.testing.assert_allclose(a @ a.T, 1.5**2 * np.eye(60), atol=1e-10)
        tall = ours((8, 2, 3), "float64").reshape(16, 3)
        np.testing.assert_allclose(tall.T @ tall, 1.5**2 * np.eye(3), atol=1e-10)
    else:
        # The means and deviations of 15,000 draws scatter by about 1/sqrt(15,000) and half of that of a deviation.
        deviation = b.std()
        assert abs(a.mean() - b.mean()) < 6 * deviation / np.sqrt(a.size) * np.sqrt(2)
        assert abs(a.std() / deviation - 1) < 6 / np.sqrt(a.size)
        # The range tells a uniform, a normal cut off at 2, and a whole normal apart: 1.7, 2.3 and 4 deviations or so.
        spread = [np.abs(v - v.mean()).max() / v.std() for v in (a, b)]
        assert abs(spread[0] - spread[1]) < (0.1 if max(spread) < 3 else 1)


def test_seeds() -> None:
    first = Initializer("glorot_uniform", seed=5)
    np.testing.assert_array_equal(first((3, 4)), first((3, 4)))
    assert not np.array_equal(first((3, 4)), Initializer("glorot_uniform", seed=6)((3, 4)))
    unseeded = Initializer("random_normal")
    assert not np.array_equal(unseeded((3, 4)), unseeded((3, 4)))
    draws = []
    for _ in range(2):
        np.random.seed(11)  # noqa: NPY002
        draws.append(unseeded((3, 4)))
    np.testing.assert_array_equal(*draws)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (3, UnsupportedError, "an initializer must be a name, such as 'glorot_uniform'"),
        ({"class_name": "Zeros", "config": {"seed": 1}}, OptionError, "Zeros has no option seed; it has none"),
        (
            {"class_name": "VarianceScaling", "config": {"mode": "fan"}},
            OptionError,
            "mode must be one of fan_in, fan_out",
        ),
        (
            {"class_name": "HeNormal", "config": {"seed": {"class_name": "SeedGenerator"}}},
            UnsupportedError,
            "seed must be",
        ),
    ],
)
def test_initializers_refuse_what_they_do_not_know(given: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        initializer(given)
    with pytest.raises(OptionError, match="needs a weight of two axes"):
        Initializer("orthogonal")((3,))
