"""Models with functions between the layers: from stock Keras's files, with its numbers, and back; and in streams."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from tolerances import assert_close64

import everystep
from everystep import load_model
from everystep.errors import EverystepError, OptionError, UnsupportedError
from everystep.layers.operations import KINDS

T, K, B = 6, 4, 3
TABLE = np.arange(12.0).reshape(4, 3)

# On x and y (B,T,K), p (B,T,K) above 0, whole numbers n (B,T) from 0 to 3, and v (B,K): what Keras enters.
EXPRESSIONS = """
x[:, -1] | x[:, 0] | x[:, 1:3, ::2] | x[..., 0] | x[..., ::-1] | x[:, None] | x[:, :, None, 1:] | x[:, -2:] | n[:, 1]
x[:, :, 2:4] | x[:, 1:-1] | x[:, -1:, 0]
x + y | x + 1 | 1 - x | x * 2 + y | 2 / p | x / p | x // 2 | x % 2 | p ** 2 | 2 ** x | p ** 0.5 | -x | abs(x)
n + 1 | n * 1.5 | n / 2 | n // 2 | n % 2 | n - n | -n | abs(n) | n ** 2 | n * x[:, :, 0] | x + v[:, None] | x + TABLE[:, 0]
(x > 0) + 1 | (x > 0) * 1.5 | x + TABLE[0, 0]
x > 0 | x >= y | x < y | x <= 0 | x != 0 | n != 0 | ~(x > 0) | (x > 0) & (y > 0) | (x > 0) | (y > 0) | ops.equal(n, 2)
ops.logical_xor(x > 0, y > 0) | ops.isnan(x / 0) | ops.isinf(x / 0) | ops.isfinite(x / 0) | ops.equal(x, y)
ops.mean(x, axis=1) | ops.mean(x, -1, keepdims=True) | ops.mean(n, axis=1) | ops.sum(x, axis=1) | ops.sum(x, axis=(1, 2))
ops.sum(n, axis=1) | ops.sum(x > 0, axis=-1) | ops.prod(x, axis=1) | ops.prod(n, axis=1) | ops.max(x, axis=1)
ops.max(x, axis=(1, 2), keepdims=True) | ops.max(x, axis=1, initial=0.5) | ops.min(n, axis=1) | ops.min(x, axis=-1)
ops.amax(x, axis=1) | ops.amin(x, axis=1)
ops.var(x, axis=1) | ops.std(x, axis=2, keepdims=True) | ops.any(x > 0, axis=1) | ops.all(x > 0, axis=-1, keepdims=True)
ops.argmax(x, axis=1) | ops.argmax(x, axis=-1, keepdims=True) | ops.argmin(x, axis=1) | ops.cumsum(x, axis=1)
ops.cumsum(n, axis=1) | ops.cumprod(x, axis=2) | ops.logsumexp(x, axis=1) | ops.logsumexp(x, axis=-1, keepdims=True)
ops.reshape(x, (-1, 24)) | ops.reshape(x, newshape=(-1, 2, 12)) | ops.reshape(x, (-1, K)) | ops.expand_dims(x, 1)
ops.expand_dims(x, (1, -1)) | ops.squeeze(x[:, :1], axis=1) | ops.squeeze(x[:, :1]) | ops.transpose(x, (0, 2, 1))
ops.swapaxes(x, 1, 2) | ops.moveaxis(x, 2, 1) | ops.flip(x, axis=1) | ops.flip(x, axis=(1, 2)) | ops.roll(x, 2, axis=1)
ops.stack([x, y], axis=1) | ops.stack([x, y, x], axis=-1) | ops.concatenate([x, y], axis=-1)
ops.concatenate([x, n[:, :, None]], axis=2) | ops.concatenate([x, y], axis=1) | ops.take(x, [0, 2], axis=2)
ops.take(TABLE, n, axis=0) | ops.take(x, 1, axis=1) | ops.repeat(x, 2, axis=1) | ops.tile(x, [1, 2, 1]) | ops.tile(x, (1, 1, 3))
ops.pad(x, ((0, 0), (1, 0), (0, 2))) | ops.pad(x, ((0, 0), (1, 2), (0, 0)), constant_values=2.5)
ops.pad(x, ((0, 0), (1, 2), (0, 0)), mode="reflect") | ops.one_hot(n, 4) | ops.one_hot(n, 3, axis=1, dtype="int32")
ops.where(x > 0, x, y) | ops.where(x > 0, x, 0.0) | ops.where(n > 0, n, 7) | ops.where(n > 0, n, 0.5)
ops.cast(n, "float32") | ops.cast(n, "float64") | ops.cast(x, "int32") | ops.cast(x, "bool") | ops.clip(x, -1, 0.5)
ops.clip(n, 1, 2) | ops.clip(n, 0.5, 2) | ops.maximum(x, 0.5) | ops.maximum(x, y) | ops.minimum(n, 2) | ops.minimum(x, y)
ops.exp(x) | ops.exp(n) | ops.expm1(x) | ops.log(p) | ops.log1p(p) | ops.log2(p) | ops.log10(p) | ops.sqrt(p) | ops.sqrt(n)
ops.rsqrt(p) | ops.square(x) | ops.square(n) | ops.reciprocal(p) | ops.sin(x) | ops.cos(x) | ops.tan(x) | ops.arctan(x)
ops.sinh(x) | ops.cosh(x) | ops.tanh(x) | ops.floor(x) | ops.ceil(x) | ops.round(x) | ops.round(x, 1) | ops.sign(x)
ops.sign(n) | ops.absolute(n) | ops.sigmoid(x) | ops.relu(x) | ops.relu(n) | ops.relu6(x * 5) | ops.softplus(x) | ops.softsign(x)
ops.silu(x) | ops.hard_sigmoid(x) | ops.leaky_relu(x, negative_slope=0.1) | ops.softmax(x) | ops.softmax(x, axis=1)
ops.log_softmax(x) | ops.zeros_like(x) | ops.ones_like(x, dtype="int32") | ops.full_like(x, 3.0) | ops.stop_gradient(x)
ops.divide(x, p) | ops.divide_no_nan(x, n[:, :, None]) | ops.power(p, y) | ops.negative(x)
x @ ops.transpose(y, (0, 2, 1)) | ops.matmul(x, TABLE) | x @ TABLE | ops.matmul(ops.softmax(x @ ops.swapaxes(y, 1, 2)), y)
ops.add(x1=x, x2=2) | ops.where(x > 0, x2=x, x1=y) | ops.maximum(x2=x, x1=0.25)
"""
CASES = [
    part.strip().replace("@or@", "|")
    for line in EXPRESSIONS.replace("(x > 0) | (y > 0)", "(x > 0) @or@ (y > 0)").strip().splitlines()
    for part in line.split(" | ")
]
WIDE = pytest.mark.usefixtures("wide")


def inputs(k: Any, dtype: str) -> dict[str, Any]:
    shapes: dict[str, tuple[Any, ...]] = {"x": (T, K), "y": (T, K), "p": (T, K), "n": (T,), "v": (K,)}
    return {
        name: k.Input(shape, name=name, dtype="int32" if name == "n" else dtype) for name, shape in shapes.items()
    }


def data(dtype: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    x, y, p = (rng.normal(size=(B, T, K)).astype(dtype) for _ in range(3))
    x[0, 0, 0], y[1, 2] = 0, x[1, 2]
    n, v = rng.integers(0, 4, (B, T)).astype("int32"), rng.normal(size=(B, K)).astype(dtype)
    return {"x": x, "y": y, "p": np.abs(p) + np.array(0.1, dtype), "n": n, "v": v}


def made(case: str, dtype: str, k: Any = keras) -> Any:
    given = inputs(k, dtype)
    output = eval(case, {"ops": ops, "K": K, "TABLE": TABLE.astype(dtype)}, given)  # of the list above
    return k.Model(list(given.values()), output, name="model")


def raw_outputs(model: Any, x: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(model(list(x.values())))


def functions(config: Any) -> list[Any]:
    return [
        (layer["module"], layer["class_name"], layer["name"], layer["config"], layer["inbound_nodes"])
        for layer in json.loads(json.dumps(config))["layers"]
    ]


def close(found: Any, expected: Any, dtype: str) -> None:
    """Of float32, both are within some roundings of the same number: 64 units in the last place of the largest."""
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    if found.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected)
    elif found.dtype == np.float64:
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(np.isfinite(found), finite)
        assert_close64([np.where(finite, found, 0)], [np.where(finite, expected, 0)])
    else:
        scale = max(1.0, float(np.abs(expected[np.isfinite(expected)]).max(initial=0)))
        np.testing.assert_allclose(found, expected, rtol=0, atol=64 * np.finfo(np.float32).eps * scale)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_as_stock_keras_and_back(case: str, dtype: str, tmp_path: Path, request: Any) -> None:
    if dtype == "float64":
        request.getfixturevalue("wide")
    theirs, x = made(case, dtype), data(dtype)
    theirs.save(tmp_path / "theirs.keras")
    ours = load_model(tmp_path / "theirs.keras")
    assert functions(ours.get_config()) == functions(theirs.get_config())
    found, expected = ours.predict(x), raw_outputs(theirs, x)
    output = ours.outputs[0]
    assert (output.ndim, output.dtype) == (found.ndim, found.dtype.name)
    assert all(size in (None, real) for size, real in zip(output.shape, found.shape, strict=True))
    assert output.shape == theirs.output_shape
    close(found, expected, dtype)
    ours.save(tmp_path / "ours.keras")
    back = keras.models.load_model(tmp_path / "ours.keras")
    np.testing.assert_array_equal(raw_outputs(back, x), expected)
    again = type(ours).from_config(ours.get_config())
    np.testing.assert_array_equal(again.predict(x), found)
    assert ours.summary is not None
    assert everystep.explain(ours)


def test_every_kind_is_among_them() -> None:
    text = {kind for case in CASES for kind in _kinds(case)}
    assert set(KINDS) - text == {"Divide"} - text


def _kinds(case: str) -> set[str]:
    return {layer["class_name"] for layer in made(case, "float32").get_config()["layers"]}
