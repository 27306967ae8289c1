"""The operations that masks are made of: their shapes, before and with numbers, and their steps."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from everystep.errors import DtypeError, OptionError, ShapeError, UnsupportedError
from everystep.layers import Input
from everystep.layers.operations import Function
from everystep.models import Model

B, T, K = 2, 3, 4
RNG = np.random.default_rng(50)
X, Y = RNG.integers(0, 3, (B, T, K)).astype(np.float32), RNG.integers(0, 3, (B, T, 1)).astype(np.float32)
SEEN, OTHER = X[..., 0] > 0, Y[..., 0] > 1

CASES: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    *((name, (X, 1), {}) for name in ("Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual")),
    ("Less", (X, Y), {}),
    ("LogicalAnd", (SEEN, OTHER), {}),
    ("LogicalOr", (SEEN, OTHER), {}),
    ("LogicalNot", (SEEN,), {}),
    ("Any", (X > 1,), {"axis": 2}),
    ("Any", (X > 1,), {"axis": -1, "keepdims": True}),
    ("All", (X > 0,), {"axis": [-1]}),
    ("ExpandDims", (SEEN,), {"axis": -1}),
    ("ExpandDims", (SEEN,), {"axis": 2}),
    ("ZerosLike", (X,), {"dtype": "bool"}),
    ("OnesLike", (SEEN,), {}),
    ("Flip", (X,), {"axis": 2}),
    ("Concatenate", ([X, Y],), {"axis": -1}),
]
ALONG_TIME: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("Flip", (SEEN,), {"axis": 1}),
    ("Any", (X > 1,), {"axis": -2}),
    ("Concatenate", ([X, X],), {"axis": 1}),
]


def graph(kind: str, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Function, Any]:
    def symbolic(value: Any) -> Any:
        if isinstance(value, list):
            return [symbolic(inner) for inner in value]
        return Input((None, *value.shape[2:]), dtype=value.dtype.name) if isinstance(value, np.ndarray) else value

    operation = Function(kind, **options)
    return operation, operation(*(symbolic(value) for value in args))


@pytest.mark.parametrize(("kind", "args", "options"), CASES + ALONG_TIME)
def test_as_keras_has_it(kind: str, args: Any, options: Any) -> None:
    operation, tensor = graph(kind, args, options)
    found = operation(*args)
    snake = {"LogicalAnd": "logical_and", "LogicalOr": "logical_or", "LogicalNot": "logical_not", "GreaterEqual":
             "greater_equal", "LessEqual": "less_equal", "NotEqual": "not_equal", "ExpandDims": "expand_dims",
             "ZerosLike": "zeros_like", "OnesLike": "ones_like"}.get(kind, kind.lower())  # fmt: skip
    expected = np.asarray(getattr(keras.ops, snake)(*args, **options))
    assert found.dtype == expected.dtype == tensor.dtype
    np.testing.assert_array_equal(found, expected)
    assert len(tensor.shape) == found.ndim
    for known, size in zip(tensor.shape[2:], found.shape[2:], strict=True):
        assert known == size


@pytest.mark.parametrize(("kind", "args", "options"), CASES)
def test_a_step_is_that_step(kind: str, args: Any, options: Any) -> None:
    operation, _ = graph(kind, args, options)
    whole, _ = operation.run(*args)
    for t in range(T):
        at = [
            [v[:, t] for v in a] if isinstance(a, list) else a[:, t] if isinstance(a, np.ndarray) else a for a in args
        ]
        np.testing.assert_array_equal(operation.step(*at)[0], whole[:, t])


@pytest.mark.parametrize(("kind", "args", "options"), ALONG_TIME)
def test_along_time_there_is_no_step(kind: str, args: Any, options: Any) -> None:
    operation, _ = graph(kind, args, options)
    at = [[v[:, 0] for v in a] if isinstance(a, list) else a[:, 0] for a in args]
    with pytest.raises(UnsupportedError, match="cannot go one step at a time: it goes along the time axis"):
        operation.step(*at)


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(OptionError, match=r"\(Any\) has no option where"):
        Function("Any", where=1)
    with pytest.raises(OptionError, match=r"\(Any\): axis must be one whole number"):
        Function("Any", axis="1")(Input((3,)))
    with pytest.raises(OptionError, match=r"takes x1, x2, the first 2 at least; got 1 in order and x3 by keyword"):
        Function("Equal")(Input((3,)), x3=1)
    with pytest.raises(OptionError, match="there is no operation 'Twirl' here; there are Absolute, "):
        Function("Twirl")
    for wrong, came in (
        (None, "NoneType"),
        ([1, 2, 3], "list"),
        ("a", "str"),
        (1j, "complex"),
        (np.array(["a"]), "<U1"),
    ):
        with pytest.raises(DtypeError, match=rf"\(Add\): an operation takes tensors, arrays .*; got {came}"):
            Input((3,)) + wrong
    with pytest.raises(ShapeError, match="no axis 3 in an array of 3 axes"):
        Function("Mean", axis=3)(Input((3, 2)))
    with pytest.raises(DtypeError, match="no dtype for uint64, int64 together"):
        Function("Add")(Input((3,), dtype="uint64"), Input((3,), dtype="int64"))


def test_arguments_by_keyword() -> None:
    x, y = Input((T, K), name="x"), Input((T, K), name="y")
    model = Model([x, y], Function("Subtract")(x2=x, x1=y))
    np.testing.assert_array_equal(model.predict([X, X * 3]), X * 2)
    np.testing.assert_array_equal(Model.from_config(model.get_config()).predict([X, X * 3]), X * 2)
    np.testing.assert_array_equal(Function("Subtract")(x2=X, x1=X * 3), X * 2)


def test_calls_of_one_function_are_each_by_itself() -> None:
    """One takes the newest step of a sequence, the other a feature of every step."""
    cut, x, y = Function("GetItem"), Input((None, K), name="x"), Input((None, K), name="y")
    model = Model([x, y], [cut(x, (slice(None), -1)), cut(y, (..., 0))])
    stream = model.stream(B)
    for t in range(T):
        for found in (stream.step([X[:, t], 2 * X[:, t]]), model.step([X[:, t], 2 * X[:, t]])[0]):
            np.testing.assert_array_equal(found[0], X[:, t])
            np.testing.assert_array_equal(found[1], 2 * X[:, t, 0])
    whole = Model([x, y], [cut(x, (slice(None), -1)), cut(y, (slice(None), 0))])
    with pytest.raises(UnsupportedError, match="it goes along the time axis"):
        whole.stream(B)


def test_a_slice_of_too_short_a_sequence_is_refused() -> None:
    x = Input((None, K))
    with pytest.raises(ShapeError, match=r"\(GetItem\): there is no index -1 along axis 1 of an array of shape"):
        Model(x, x[:, -1]).predict(X[:, :0])
