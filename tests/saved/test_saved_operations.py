"""Models with functions between the layers: from stock Keras's files, with its numbers, and back; and in streams."""

from __future__ import annotations

import json
import pickle
import re
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
from everystep.layers.operations import KINDS, Function

T, K, B = 6, 4, 3
TABLE = np.arange(12.0).reshape(4, 3)

# On x and y (B,T,K), p (B,T,K) above 0, whole numbers n (B,T) from 0 to 3, and v (B,K): what Keras enters.
EXPRESSIONS = """
x[:, -1] | x[:, 0] | x[:, 1:3, ::2] | x[..., 0] | x[..., ::-1] | x[:, None] | x[:, :, None, 1:] | x[:, -2:] | n[:, 1]
x[:, :, 2:4] | x[:, 1:-1] | x[:, -1:, 0]
x + y | x + 1 | 1 - x | x * 2 + y | 2 / p | x / p | x // 2 | x % 2 | p ** 2 | 2 ** x | p ** 0.5 | -x | abs(x)
n + 1 | n * 1.5 | n / 2 | n // 2 | n % 2 | n - n | -n | abs(n) | n ** 2 | n * x[:, :, 0] | x + v[:, None]
x + TABLE[:, 0]
(x > 0) + 1 | (x > 0) * 1.5 | x + TABLE[0, 0]
x > 0 | x >= y | x < y | x <= 0 | x != 0 | n != 0 | ~(x > 0) | (x > 0) & (y > 0) | (x > 0) | (y > 0) | ops.equal(n, 2)
ops.logical_xor(x > 0, y > 0) | ops.isnan(x / 0) | ops.isinf(x / 0) | ops.isfinite(x / 0) | ops.equal(x, y)
ops.mean(x, axis=1) | ops.mean(x, -1, keepdims=True) | ops.mean(n, axis=1) | ops.sum(x, axis=1)
ops.sum(x, axis=(1, 2))
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
ops.take(TABLE, n, axis=0) | ops.take(x, 1, axis=1) | ops.repeat(x, 2, axis=1) | ops.tile(x, [1, 2, 1])
ops.tile(x, (1, 1, 3))
ops.pad(x, ((0, 0), (1, 0), (0, 2))) | ops.pad(x, ((0, 0), (1, 2), (0, 0)), constant_values=2.5)
ops.pad(x, ((0, 0), (1, 2), (0, 0)), mode="reflect") | ops.one_hot(n, 4) | ops.one_hot(n, 3, axis=1, dtype="int32")
ops.where(x > 0, x, y) | ops.where(x > 0, x, 0.0) | ops.where(n > 0, n, 7) | ops.where(n > 0, n, 0.5)
ops.cast(n, "float32") | ops.cast(n, "float64") | ops.cast(x, "int32") | ops.cast(x, "bool") | ops.clip(x, -1, 0.5)
ops.clip(n, 1, 2) | ops.clip(n, 0.5, 2) | ops.clip(x, -0.5, None) | ops.clip(n, None, 2) | ops.clip(n > 1, 0, 1)
ops.square(x > 0) | (x > 0) // (p > 0) | (n > 0) % (n < 9) | ops.power(x > 0, n[:, :, None] > 1) | ops.relu(x > 0)
ops.cast(x / 0, "int32")
ops.cast(x * 1e9, "int32") | ops.cast(x * 200, "uint8") | ops.cast(x * 200, "int8") | ops.convert_to_tensor(x)
ops.maximum(x, 0.5) | ops.maximum(x, y) | ops.minimum(n, 2) | ops.minimum(x, y)
ops.exp(x) | ops.exp(n) | ops.expm1(x) | ops.log(p) | ops.log1p(p) | ops.log2(p) | ops.log10(p) | ops.sqrt(p)
ops.sqrt(n)
ops.rsqrt(p) | ops.square(x) | ops.square(n) | ops.reciprocal(p) | ops.sin(x) | ops.cos(x) | ops.tan(x) | ops.arctan(x)
ops.sinh(x) | ops.cosh(x) | ops.tanh(x) | ops.floor(x) | ops.ceil(x) | ops.round(x) | ops.round(x, 1) | ops.sign(x)
ops.sign(n) | ops.absolute(n) | ops.sigmoid(x) | ops.relu(x) | ops.relu(n) | ops.relu6(x * 5) | ops.softplus(x)
ops.softsign(x)
ops.silu(x) | ops.hard_sigmoid(x) | ops.leaky_relu(x, negative_slope=0.1) | ops.softmax(x) | ops.softmax(x, axis=1)
ops.log_softmax(x) | ops.zeros_like(x) | ops.ones_like(x, dtype="int32") | ops.full_like(x, 3.0) | ops.stop_gradient(x)
ops.gelu(x) | ops.gelu(x, approximate=False) | ops.elu(x) | ops.elu(x, alpha=0.3) | ops.selu(x) | ops.celu(x, alpha=2.0)
ops.hard_silu(x * 4) | ops.hard_tanh(x) | ops.log_sigmoid(x) | ops.squareplus(x, b=3) | ops.threshold(x, 0.2, -1)
ops.average(x, axis=1) | ops.average(n, axis=1) | ops.average(x, axis=2, weights=TABLE[:, 0])
ops.average(x, axis=-1, weights=p) | ops.sort(x) | ops.sort(x, axis=1) | ops.sort(n)
ops.sparsemax(x) | ops.glu(x) | ops.glu(x, axis=1)
ops.divide(x, p) | ops.divide_no_nan(x, n[:, :, None]) | ops.power(p, y) | ops.negative(x)
x @ ops.transpose(y, (0, 2, 1)) | ops.matmul(x, TABLE) | x @ TABLE
ops.matmul(ops.softmax(x @ ops.swapaxes(y, 1, 2)), y)
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
    return {name: k.Input(shape, name=name, dtype="int32" if name == "n" else dtype) for name, shape in shapes.items()}


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


def close(found: Any, expected: Any, dtype: str, case_of_whole_numbers: bool = False) -> None:
    """Of float32, both are within some roundings of the same number: 64 units in the last place of the largest."""
    assert found.shape == expected.shape
    if found.dtype != expected.dtype:
        # What is made of whole numbers alone has 32 bits. In Keras that depends on floatx and on JAX's wide numbers,
        # which no file tells of.
        pair = {found.dtype.name, expected.dtype.name}
        assert dtype == "float64" or pair == {"float64", "float32"}
        assert pair in ({"float32", "float64"}, {"int32", "int64"})
        assert case_of_whole_numbers
        found, expected = (a.astype("float32" if a.dtype.kind == "f" else "int32") for a in (found, expected))
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
    close(found, expected, dtype, bool(re.search(r"\bn\b|x > 0|arg", case)))
    ours.save(tmp_path / "ours.keras")
    back = keras.models.load_model(tmp_path / "ours.keras")
    np.testing.assert_array_equal(raw_outputs(back, x), expected)
    again = type(ours).from_config(ours.get_config())
    np.testing.assert_array_equal(again.predict(x), found)
    assert all(f"{function.name}" in str(everystep.explain(ours)) for function in ours.operations)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(ours)).predict(x), found)


def test_every_kind_is_among_them() -> None:
    met = {layer["class_name"] for case in CASES for layer in made(case, "float32").get_config()["layers"]}
    assert set(KINDS) - met == set()


def test_one_row_keeps_its_axis() -> None:
    x = everystep.Input((T, 1), name="x")
    model = everystep.Model(x, Function("Squeeze")(x))
    np.testing.assert_array_equal(model.predict(np.ones((2, T, 1)), batch_size=1), np.ones((2, T)))


# ---- Python's operators on our tensors ----

OPERATORS = [case for case in CASES if "ops." not in case]


@pytest.mark.parametrize("case", OPERATORS)
def test_operators_make_what_keras_makes(case: str) -> None:
    theirs, ours = made(case, "float32"), made(case, "float32", everystep)
    kinds = [[(kind, call) for _, kind, _, _, call in functions(model.get_config())] for model in (ours, theirs)]
    without_numbers = [re.sub(r"_\d+\b", "", json.dumps(one)) for one in kinds]
    assert without_numbers[0] == without_numbers[1]
    close(ours.predict(data("float32")), raw_outputs(theirs, data("float32")), "float32")


# ---- Streams ----


def streamed(model: Any, x: dict[str, np.ndarray]) -> None:
    """Every step, and chunks, against predict on the prefix, to the bit."""
    static = {name: x[name] for name in ("v", "s") if name in x}
    timed = {name: value for name, value in x.items() if name not in static}
    expected = []
    for t in range(1, T + 1):
        y = model.predict(static | {name: value[:, :t] for name, value in timed.items()})
        expected.append(y[:, -1] if model.outputs[0].shape[1:2] == (None,) else y)
    stream = model.stream(B, static=static)
    for t in range(T):
        np.testing.assert_array_equal(stream.step({n: value[:, t] for n, value in timed.items()}), expected[t])
    stream = model.stream(B, static=static)
    for part in (slice(0, 2), slice(2, 3), slice(3, T)):
        y = stream.run({name: value[:, part] for name, value in timed.items()})
        if model.outputs[0].shape[1:2] == (None,):
            y = y[:, -1]
        np.testing.assert_array_equal(y, expected[part.stop - 1])


def unbounded(case: str, dtype: str = "float32") -> Any:
    """The graph on sequences of any length, built under our names from what Keras writes."""
    steps: dict[str, tuple[Any, ...]] = {"x": (None, K), "y": (None, K), "p": (None, K), "n": (None,), "v": (K,)}
    given = {
        name: keras.Input(shape, name=name, dtype="int32" if name == "n" else dtype) for name, shape in steps.items()
    }
    output = eval(case, {"ops": ops, "K": K, "TABLE": TABLE.astype(dtype)}, given)
    return everystep.from_keras(keras.Model(list(given.values()), output))


STREAMS = [
    "x[:, -1]", "x[:, -1, 1:]", "x[:, :, 2:4]", "x[..., 0]", "x[..., ::-1]", "x[:, :, None, 1:]", "x + y", "1 - x",
    "x * 2 + y", "n * 1.5", "n[:, :, None] * x", "n / 2", "x + v[:, None]", "x + TABLE[0, 0]", "x > 0", "n != 0",
    "ops.mean(x, axis=-1, keepdims=True)", "ops.sum(x, axis=2)", "ops.max(x, axis=2)", "ops.any(x > 0, axis=-1)",
    "ops.argmax(x, axis=-1)", "ops.logsumexp(x, axis=2)", "ops.var(x, axis=2)", "ops.cumsum(x, axis=-1)",
    "ops.expand_dims(x, 2)", "ops.expand_dims(x, -1)", "ops.squeeze(x[:, :, :1], axis=2)", "ops.flip(x, axis=2)",
    "ops.stack([x, y], axis=2)", "ops.stack([x, y], axis=-1)", "ops.concatenate([x, y], axis=2)", "ops.softmax(x)",
    "ops.take(x, [0, 2], axis=2)", "ops.take(TABLE, n, axis=0)", "ops.repeat(x, 2, axis=2)", "ops.tile(x, [1, 1, 2])",
    "ops.pad(x, ((0, 0), (0, 0), (1, 0)))", "ops.one_hot(n, 4)", "ops.where(x > 0, x, y)", "ops.cast(n, 'float32')",
    "ops.clip(x, -1, 1)", "ops.maximum(x2=x, x1=0.25)", "ops.exp(x)", "ops.tanh(x)", "ops.sigmoid(x)", "ops.relu(x)",
    "ops.zeros_like(x)", "x @ TABLE", "ops.log(p) / p", "ops.swapaxes(ops.stack([x, y], axis=-1), 2, 3)",
    "ops.leaky_relu(x[:, -1] + y[:, -1])", "ops.mean(x[:, -1], axis=1)", "ops.exp(x > 0)", "(x > 0) / 3", "(x > 0) + 1",
    "ops.exp(ops.cast(n, 'uint8'))", "n * 33554433 > 33554432.5", "x / 0", "ops.clip(x, 0, None)", "ops.maximum(x, y)",
]  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", STREAMS)
def test_a_stream_gives_what_predict_gives_on_the_prefix(case: str) -> None:
    streamed(unbounded(case), data("float32"))


OBSTACLES = {
    "x[:, 0]": "it goes along the time axis",
    "x[:, 1:]": "it goes along the time axis",
    "x[:, ::-1]": "it goes along the time axis",
    "x[:, None]": "it goes along the time axis",
    "ops.mean(x, axis=1)": "it goes along the time axis",
    "ops.max(x, axis=(1, 2))": "it goes along the time axis",
    "ops.cumsum(x, axis=1)": "it goes along the time axis",
    "ops.flip(x, axis=-2)": "it goes along the time axis",
    "ops.softmax(x, axis=1)": "it goes along the time axis",
    "ops.stack([x, y], axis=1)": "it goes along the time axis",
    "ops.concatenate([x, y], axis=1)": "it goes along the time axis",
    "ops.transpose(x, (0, 2, 1))": "it goes along the time axis",
    "ops.squeeze(x[:, :, :1])": "it goes along the time axis",
    "ops.reshape(x, (-1, K))": "it goes along the time axis",
    "x @ ops.transpose(y, (0, 2, 1))": "it goes along the time axis",
    "x + n[:, None] * 1.0": "it goes along the time axis",
    "x * 1.0 + TABLE[:1, :1].repeat(6, 0)": "a constant with a time axis of its own",
}


@pytest.mark.parametrize("case", OBSTACLES)
def test_what_goes_along_time_is_no_stream(case: str) -> None:
    model = unbounded(case)
    with pytest.raises(UnsupportedError, match=OBSTACLES[case]):
        model.stream(B, static={"v": data("float32")["v"]})


def test_time_does_not_meet_another_axis() -> None:
    x, n = everystep.Input((None, 4), name="x"), everystep.Input((None,), name="n")
    model = everystep.Model([x, n], x + n)
    with pytest.raises(UnsupportedError, match="different numbers of axes"):
        model.stream(1)


# ---- Refusals ----


def test_what_is_not_supported_is_refused(tmp_path: Path) -> None:
    x = everystep.Input((T, K), name="x")
    with pytest.raises(UnsupportedError, match=r"\(GetItem\) goes along the batch axis"):
        x[0]
    with pytest.raises(UnsupportedError, match="whole numbers, a:b:c"):
        x[:, [0, 1]]
    with pytest.raises(EverystepError, match="no index 9 along axis 1"):
        x[:, 9]
    with pytest.raises(EverystepError, match=r"\(Add\): arrays of shapes .* do not go together"):
        x + x[:, :, :3]
    with pytest.raises(TypeError, match="true or false"):
        bool(x > 0)
    for case, message in {
        "ops.cast(x, 'float16')": "dtype 'float16' is not one of",
        "ops.sum(x, axis=0)": "goes along the batch axis",
        "ops.sum(x)": "goes along the batch axis",
        "ops.median(x, axis=1)": r"operation 'median' is a Median \(keras.src.ops.numpy\), .* Logsumexp, Matmul, Max",
        "ops.one_hot(n, 3, dtype='float16')": "float16",
    }.items():
        made(case, "float32").save(tmp_path / "model.keras")
        with pytest.raises(EverystepError, match=message):
            load_model(tmp_path / "model.keras")


def changed(old: str, new: str) -> Any:
    """The config of a model of ours with something else written in it."""
    x = everystep.Input((T, K), name="x")
    config = json.dumps(everystep.Model(x, x[:, 1:3] + np.ones((1, 1, 4), "float32")).get_config())
    assert old in config
    return json.loads(config.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"start": 1,', '"start": "1",', "start, stop and step must be whole numbers"),
        ('"step": null}}]', '"step": 0}}]', "step of a slice must not be 0"),
        ('"dtype": "float32"}}], "kwargs"', '"dtype": "O"}}], "kwargs"', "dtype 'O' is not one of"),
        ("[[[1.0, 1.0, 1.0, 1.0]]]", '[["a"]]', "must hold numbers"),
        ("[[[1.0, 1.0, 1.0, 1.0]]]", "[[1.0], [1.0, 2.0]]", "must hold numbers"),
        ('"__slice__"', '"__lambda__"', "__lambda__"),
    ],
)
def test_a_config_that_holds_something_else_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(EverystepError, match=message):
        everystep.Model.from_config(changed(old, new))


def test_an_option_or_argument_that_is_unknown_is_refused() -> None:
    config = changed('"class_name": "Add"', '"class_name": "Add"')
    config["layers"][-1]["config"]["axis"] = 1
    with pytest.raises(OptionError, match=r"\(Add\) has no option axis"):
        everystep.Model.from_config(config)


def test_a_ragged_batch_is_not_read_past_a_function() -> None:
    x = everystep.Input((None, K), name="x")
    model = everystep.Model(x, everystep.layers.LSTM(2)(x * 2))
    with pytest.raises(UnsupportedError, match=r"\(Multiply\) hands on no mask"):
        model.predict([np.ones((2, K)), np.ones((3, K))])
