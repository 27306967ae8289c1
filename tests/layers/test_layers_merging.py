"""Layers that make one array of several, against Keras's: numbers, masks, files, one step, and what they refuse."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from beside_keras import assert_same, assert_same_model
from tolerances import assert_close64

from everystep import layers, models
from everystep.errors import DtypeError, OptionError, ShapeError, UnsupportedError

B, T, H = 3, 5, 4
KINDS = ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"]
SHAPES = [
    [(B, T, H), (B, T, H)],
    [(B, T, H), (B, H)],
    [(B, 1, H), (B, T, 1)],
    [(B, H), (B, H)],
    [(B, 2, T, H), (B, T, H)],
    [(0, T, H), (0, T, H)],
    [(B, 0, H), (B, 1, H)],
]


def numbers(shapes: list[tuple[int, ...]], dtype: str = "float64") -> list[Any]:
    rng = np.random.default_rng(len(shapes))
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_numbers(kind: str, shapes: Any) -> None:
    assert_same(kind, numbers(shapes))
    if kind != "Subtract":
        assert_same(kind, numbers([*shapes, shapes[0]]))
        assert_same(kind, numbers(shapes[:1]))


@pytest.mark.parametrize("masked", [(True, True, True), (True, False, True), (False, True, True), (True, True, False)])
@pytest.mark.parametrize("kind", KINDS)
def test_masks_in_models(kind: str, masked: Any, tmp_path: Any) -> None:
    count = 2 if kind == "Subtract" else 3
    rng = np.random.default_rng(1)
    arrays = [np.where(rng.random((B, T, 1)) < 0.5, 0, rng.normal(size=(B, T, H))).astype(np.float32) for _ in range(3)]

    def build(library: Any) -> Any:
        inputs = [library.Input((T, H)) for _ in range(count)]
        came = [library.Masking()(x) if its else x for x, its in zip(inputs, masked, strict=False)]
        merged = getattr(library, kind)()(came)
        return inputs, [merged, library.LSTM(2)(merged)]

    model = assert_same_model(build, arrays[:count], tmp_path)
    assert any(layer.kind == kind for layer in model.layers)


def test_a_vector_beside_masked_sequences(tmp_path: Any) -> None:
    rng = np.random.default_rng(2)
    x = np.where(rng.random((B, T, 1)) < 0.5, 0, rng.normal(size=(B, T, H))).astype(np.float32)

    def build(library: Any) -> Any:
        inputs = [library.Input((T, H)), library.Input((H,))]
        return inputs, library.Multiply()([library.Masking()(inputs[0]), inputs[1]])

    assert_same_model(build, [x, rng.normal(size=(B, H)).astype(np.float32)], tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_beside_what_is_whole(kind: str) -> None:
    x, v, one = numbers([(B, T, H), (B, H), (B, 1, H)])
    for other in (v, one):
        layer = getattr(layers, kind)(dtype="float64")
        whole = layer([x, other])
        for t in range(T):
            np.testing.assert_array_equal(layer.step([x[:, t], other])[0], whole[:, t])


def test_functions() -> None:
    x, y = numbers([(B, T, H), (B, T, H)], "float32")
    for name in ("add", "subtract", "multiply", "average", "maximum", "minimum", "concatenate", "dot"):
        found = getattr(layers, name)([x, y])
        expected = np.asarray(getattr(keras.layers, name)([x, y]))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2e-6)
    assert layers.concatenate([x, y], axis=1).shape == (B, 2 * T, H)
    assert layers.dot([x, y], axes=(1, 1), normalize=True).shape == (B, H, H)


DOTS = [
    ([(B, H), (B, H)], 1),
    ([(B, T, H), (B, 7, H)], 2),
    ([(B, T, H), (B, 7, H)], -1),
    ([(B, T, H), (B, T, 6)], (1, 1)),
    ([(B, T, H), (B, H, 6)], (2, 1)),
    ([(B, T, H), (B, H)], (-1, -1)),
    ([(B, H), (B, T, H)], (1, 2)),
    ([(B, 2, T, H), (B, H, 3, 2)], (3, 1)),
    ([(B, 2, T, H), (B, 3, T, 2)], (2, 2)),
    ([(0, T, H), (0, 7, H)], 2),
]


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("shapes", "axes"), DOTS, ids=str)
def test_dot(shapes: Any, axes: Any, normalize: bool) -> None:
    assert_same("Dot", numbers(shapes), axes=axes, normalize=normalize)


def test_dot_of_a_zero_vector() -> None:
    found = layers.Dot(1, normalize=True, dtype="float64")([np.zeros((1, 2)), np.ones((1, 2))])
    np.testing.assert_array_equal(found, [[0]])


def test_dot_steps_beside_a_whole_array() -> None:
    x, y = numbers([(B, T, H), (B, 7, H)])
    layer = layers.Dot(2, dtype="float64", name="d")
    whole = layer([x, y])
    np.testing.assert_array_equal(layer([x[1:2], y[1:2]]), whole[1:2])
    for t in range(T):
        np.testing.assert_array_equal(layer.step([x[:, t], y])[0], whole[:, t])
    for came in ([x[:, 0], y[:, 0]], [x, y[:, 0]]):
        with pytest.raises(UnsupportedError, match="layer 'd' cannot go one step at a time: it sums along time"):
            layer.step(came)


def test_dot_in_a_file(tmp_path: Any) -> None:
    def build(library: Any) -> Any:
        inputs = [library.Input((None, H)), library.Input((7, H))]
        return inputs, library.Dense(3)(library.Dot((2, -1), normalize=True)(inputs))

    assert_same_model(build, numbers([(B, T, H), (B, 7, H)], "float32"), tmp_path)


def test_shapes_that_are_not_known() -> None:
    x, y = layers.Input((None, H)), layers.Input((H,))
    assert layers.Add()([x, y]).shape == (None, None, H)
    model = models.Model([x, y], layers.Add()([x, y]))
    arrays = numbers([(B, T, H), (B, H)], "float32")
    assert_close64([model.predict(arrays).astype(float)], [(arrays[0] + arrays[1][:, None]).astype(float)])


x64 = np.zeros((B, T, H))
REFUSED = [
    (
        lambda: layers.Add(name="a", dtype="float64")(x64),
        ShapeError,
        "layer 'a' takes a list of one array or more",
    ),
    (lambda: layers.Add()([]), ShapeError, "takes a list of one array or more; got list"),
    (lambda: layers.Subtract(dtype="float64")([x64] * 3), ShapeError, "takes a list of 2 arrays; got 3"),
    (lambda: layers.Add(dtype="float64")([x64, x64[:, :2]]), ShapeError, r"got \(3, 5, 4\), \(3, 2, 4\)"),
    (lambda: layers.Add(dtype="float64")([x64, x64[:2]]), ShapeError, "arrays of one batch"),
    (lambda: layers.Add()([x64 > 0, x64 > 0]), DtypeError, "is float32 and its input is bool"),
    (lambda: layers.Dot(2, dtype="float64")([x64]), ShapeError, "takes a list of 2 arrays; got 1"),
    (lambda: layers.Dot(0, dtype="float64")([x64, x64]), ShapeError, "which are not the batch"),
    (lambda: layers.Dot(3, dtype="float64")([x64, x64]), ShapeError, "along axes 3"),
    (lambda: layers.Dot((1, 2), dtype="float64")([x64, x64]), ShapeError, "of equal size along axes"),
    (lambda: layers.Dot("x"), OptionError, "axes must be one or two whole numbers; got 'x'"),
    (lambda: layers.Dot((1, 2, 3)), OptionError, "axes must be one or two whole numbers"),
    (lambda: layers.Dot(1, normalize=2), OptionError, "normalize must be True or False"),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_refusals(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_steps_that_do_not_fit_are_refused() -> None:
    x, v = numbers([(B, T, H), (B, T)])
    layer = layers.Add(dtype="float64", name="a")
    layer([x, np.zeros((B, T, H))])
    with pytest.raises(UnsupportedError, match="layer 'a' cannot go one step at a time: it was given one step"):
        layer.step([x[:, 0], x])
    other = layers.Add(dtype="float64", name="b")
    other([np.zeros((B, T, T)), v])
    with pytest.raises(UnsupportedError, match="layer 'b' cannot go one step at a time: beside an array of 3 axes"):
        other.step([np.zeros((B, T)), v[:, 0]])
    with pytest.raises(ShapeError, match="a mask must have one axis less than its array"):
        layers.Multiply(dtype="float64").run([v, v], mask=[v > 0, None])
