"""Activations: tanh and sigmoid within 2 ulp, the others within the bounds that tests/rounding.py declares."""

from __future__ import annotations

import math
from typing import Any

import equations
import numpy as np
import pytest
from rounding import own_error, own_slope_error

from everystep import engine
from everystep.cells import ACTIVATION_ALIASES, ACTIVATIONS

Array = np.ndarray[Any, np.dtype[Any]]


def every_float32(stride: int) -> Array:
    """Every stride-th bit pattern that is a number, of all exponents. No subnormals: to the engine they are 0."""
    x = np.arange(0, 2**32, stride, dtype=np.uint64).astype(np.uint32).view(np.float32)
    return x[(np.abs(x) >= np.finfo(np.float32).tiny) & np.isfinite(x) | (x == 0)]


def some_float64(n: int) -> Array:
    rng = np.random.default_rng(n)
    magnitudes = 2.0 ** rng.uniform(-40, 10, n // 2) * rng.choice([-1, 1], n // 2)
    return np.concatenate([magnitudes, rng.uniform(-4, 4, n // 4), rng.uniform(-40, 40, n - n // 2 - n // 4)])


def ulps(found: Array, exact: Array) -> Array:
    """How many units in the last place `found` is off; results below the smallest normal number may be 0 instead."""
    dtype = found.dtype.type
    off = np.abs(found.astype(exact.dtype) - exact) / np.spacing(np.abs(exact).astype(dtype)).astype(exact.dtype)
    return np.where(np.abs(exact) < np.finfo(dtype).tiny, np.where(found == 0, 0, off), off)


def long_sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


EXACT = {"tanh": np.tanh, "sigmoid": long_sigmoid}


@pytest.mark.parametrize("name", EXACT)
def test_two_ulp_float32(name: str) -> None:
    """Against float64, whose own error is 1e-8 ulp of float32. Densest where a mistake would hide: from 1/16 to 32."""
    middle = np.arange(np.float32(2**-4).view(np.uint32), np.float32(32).view(np.uint32), 53, dtype=np.uint32)
    middle = middle.view(np.float32)
    for x in (every_float32(1999), middle, -middle):
        found = engine.activate(name, x)
        assert ulps(found, EXACT[name](x.astype(np.float64))).max() <= 2


@pytest.mark.parametrize("name", EXACT)
def test_two_ulp_float64(name: str) -> None:
    """Against 80-bit numbers, 11 bits more: their own error is below 0.01 ulp."""
    rng = np.random.default_rng(1)
    small = 2.0 ** rng.uniform(-1000, -20, 10_000)
    x = np.concatenate(
        [rng.uniform(-4, 4, 400_000), rng.uniform(-40, 40, 200_000), rng.uniform(-709, 709, 20_000), small]
    )
    assert ulps(engine.activate(name, x), EXACT[name](x.astype(np.longdouble))).max() <= 2


SELU_SCALE, SELU_ALPHA = np.longdouble("1.0507009873554804934193"), np.longdouble("1.6732632423543772848170")
HALF = np.longdouble("0.5")

# By definition; given numbers of 80 bits, so that their own rounding and cancellation lie below the bounds. The C
# library's erfc, good to 1 ulp of float64, is given an exact square root.
DEFINITIONS = EXACT | {
    "linear": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, z / 5),
    "relu6": lambda z: np.clip(z, 0, 6),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "celu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "selu": lambda z: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0))),
    "exponential": np.exp,
    "softplus": lambda z: np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))),
    "softsign": lambda z: z / (1 + np.abs(z)),
    "squareplus": lambda z: (z + np.sqrt(z * z + 4)) / 2,
    "soft_shrink": lambda z: np.sign(z) * np.maximum(np.abs(z) - HALF, 0),
    "hard_shrink": lambda z: np.where(np.abs(z) > HALF, z, 0),
    "tanh_shrink": lambda z: z - np.tanh(z),
    "sparse_plus": lambda z: np.where(z <= -1, 0, np.where(z >= 1, z, (z + 1) ** 2 / 4)),
    "sparse_sigmoid": lambda z: np.clip((z + 1) / 2, 0, 1),
    "silu": lambda z: z * long_sigmoid(z),
    "gelu": lambda z: z * np.array([math.erfc(v) for v in -z / np.sqrt(np.longdouble(2))]) / 2,
    "mish": lambda z: z * np.tanh(np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))),
    "log_sigmoid": lambda z: np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z))),
    "hard_sigmoid": lambda z: np.clip(z / 6 + HALF, 0, 1),
    "hard_sigmoid_keras2": lambda z: np.clip(z / 5 + HALF, 0, 1),
    "hard_silu": lambda z: z * np.clip(z / 6 + HALF, 0, 1),
    "hard_tanh": lambda z: np.clip(z, -1, 1),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_declared_bound_float64(name: str) -> None:
    x = some_float64(40_000)
    with np.errstate(over="ignore"):
        exact = DEFINITIONS[name](x.astype(np.longdouble))
        fits = np.abs(exact) < np.finfo(np.float64).max
        found = engine.activate(name, x)
        bound = own_error(name, x, exact.astype(np.float64), np.float64)
        assert (np.abs(found - exact) <= bound)[fits].all()
    assert np.isinf(found[~fits]).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_declared_bound_float32(name: str) -> None:
    """Against the oracle in float64, whose own error is less than 1e-7 of the bound."""
    x = every_float32(49_999 if name == "gelu" else 9_973)
    x = x[np.abs(x) < 2**63]  # squareplus squares it, as Keras does
    with np.errstate(all="ignore"):
        exact = equations.ACTIVATIONS[name][0](x.astype(np.float64))
        fits = np.abs(exact) < np.finfo(np.float32).max
        off = np.abs(engine.activate(name, x) - exact)
        assert (off <= own_error(name, x.astype(np.float64), exact, np.float32))[fits].all()
    assert np.isinf(engine.activate(name, x)[~fits]).all()


def slopes(name: str, x: Array, recurrent: bool) -> Array:
    """d_x of one unit and one step whose kernel is 1 for one gate, from a gradient of 1 at that gate alone."""
    n, gate = len(x), 0 if recurrent else 2
    other = {"sigmoid": "tanh", "tanh": "sigmoid"}.get(
        name, "linear"
    )  # tanh and sigmoid together have code of their own
    functions = dict(activation=other if recurrent else name, recurrent_activation=name if recurrent else other)
    kernel, recurrent_kernel = np.zeros((1, 4), x.dtype), np.zeros((1, 4), x.dtype)
    kernel[0, gate] = 1
    states = np.zeros((n, 1), x.dtype), np.zeros((n, 1), x.dtype)
    packed = engine.pack("lstm", kernel, recurrent_kernel)
    record = engine.run(packed, x.reshape(n, 1, 1), states, record=True, **functions).record
    d_gates = np.zeros((n, 1, 4, 1), x.dtype)
    d_gates[:, 0, gate] = 1
    assert record is not None
    return engine.run_backward(record, kernel, recurrent_kernel, d_gates=d_gates).x.reshape(n)


# Beyond these the other gates' values are no numbers, or, for squareplus, the square of x.
LARGEST = {np.float32: 2.0**60, np.float64: 2.0**500}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("recurrent", [False, True], ids=["activation", "recurrent_activation"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slopes(name: str, recurrent: bool, dtype: Any) -> None:
    if dtype == np.float32:
        x = every_float32(1_000_003)
        x = np.concatenate([x, np.random.default_rng(2).uniform(-8, 8, 2_000).astype(np.float32)])
    else:
        x = some_float64(4_000)
    x = x[np.abs(x) < LARGEST[dtype]]
    with np.errstate(all="ignore"):
        exact = equations.ACTIVATIONS[name][1](x.astype(np.float64))
        fits = np.abs(exact) < np.finfo(dtype).max
        found = slopes(name, x, recurrent)
        assert (np.abs(found - exact) <= own_slope_error(name, x, exact, dtype) + 1e-30)[fits].all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_infinities_and_nan_as_in_numpy(name: str, dtype: Any) -> None:
    """As the oracle's definition gives them; x / (1 + |x|) and x s(x) at an infinity are no number in Keras either."""
    assert np.isnan(engine.activate(name, np.array([np.nan], dtype)))
    x = np.array([np.inf, -np.inf], dtype)
    with np.errstate(all="ignore"):
        wanted = equations.ACTIVATIONS[name][0](x.astype(np.float64))
    np.testing.assert_array_equal(engine.activate(name, x), wanted.astype(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_zero(name: str, dtype: Any) -> None:
    zeros = np.array([0.0, -0.0], dtype)
    found = engine.activate(name, zeros)
    np.testing.assert_array_equal(found, equations.ACTIVATIONS[name][0](zeros.astype(np.float64)).astype(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "name",
    ["linear", "tanh", "softsign", "hard_tanh"],
)
def test_odd_functions_keep_the_sign_of_zero(name: str, dtype: Any) -> None:
    """As NumPy's do."""
    found = engine.activate(name, np.array([0.0, -0.0], dtype))
    np.testing.assert_array_equal(np.signbit(found), [False, True])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_length_and_place(name: str, dtype: Any) -> None:
    """A number's value does not depend on what stands beside it, and nothing is written beyond the end."""
    x = np.random.default_rng(3).normal(size=200).astype(dtype)
    whole = engine.activate(name, x)
    for first, n in ((0, 0), (0, 1), (1, 1), (3, 7), (5, 16), (8, 17), (1, 33), (7, 130)):
        around = np.full(200, 7, dtype)
        engine.activate(name, x[first : first + n], out=around[first : first + n])
        np.testing.assert_array_equal(around[first : first + n], whole[first : first + n])
        assert (around[:first] == 7).all()
        assert (around[first + n :] == 7).all()
    own = x.copy()
    assert engine.activate(name, own, out=own) is own
    np.testing.assert_array_equal(own, whole)


@pytest.mark.parametrize("alias", ACTIVATION_ALIASES)
def test_aliases(alias: str) -> None:
    x = np.linspace(-4, 4, 50)
    np.testing.assert_array_equal(engine.activate(alias, x), engine.activate(ACTIVATION_ALIASES[alias], x))
