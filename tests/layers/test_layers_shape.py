"""Layers that change shapes, rectifiers, Softmax and activations along an axis, against Keras's; and their steps."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from beside_keras import assert_same, assert_same_model, pair
from tolerances import assert_close64
from wide_floats import float64

from everystep import layers
from everystep.errors import OptionError, ShapeError, UnsupportedError

B, T, H = 3, 5, 4
x = np.random.default_rng(3).normal(0, 2, size=(B, T, H))
SAME: list[tuple[str, dict[str, Any], Any]] = [
    ("Flatten", {}, x), ("Flatten", {"data_format": "channels_first"}, x), ("Flatten", {}, x[:, 0, 0]),
    ("Flatten", {}, x[:0]), ("Reshape", {"target_shape": (-1, 2)}, x), ("Reshape", {"target_shape": (2, -1, 5)}, x),
    ("Reshape", {"target_shape": (20,)}, x), ("Permute", {"dims": (2, 1)}, x), ("Permute", {"dims": (1, 2)}, x),
    ("RepeatVector", {"n": 3}, x[:, 0]), ("Identity", {}, x), ("Dropout", {"rate": 0.3}, x),
    ("AlphaDropout", {"rate": 0.3, "seed": 2}, x), ("GaussianDropout", {"rate": 0.3}, x),
    ("GaussianNoise", {"stddev": 0.3}, x), ("SpatialDropout1D", {"rate": 0.3}, x),
    ("ActivityRegularization", {"l1": 0.3}, x), ("ReLU", {}, x), ("ReLU", {"max_value": 1.5}, x),
    ("ReLU", {"max_value": 6, "negative_slope": 0.3, "threshold": 0.5}, x), ("ReLU", {"negative_slope": 0.2}, x),
    ("LeakyReLU", {}, x), ("LeakyReLU", {"negative_slope": 0.7}, x), ("ELU", {"alpha": 0.6}, x),
    ("PReLU", {}, x), ("PReLU", {"shared_axes": [1]}, x), ("Softmax", {}, x), ("Softmax", {"axis": 1}, x),
    ("Softmax", {"axis": [1, 2]}, x), ("Activation", {"activation": "glu"}, x),
    ("Activation", {"activation": "sparsemax"}, x), ("Dense", {"units": 6, "activation": "glu"}, x),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options", "inputs"), SAME, ids=[f"{kind}-{options}" for kind, options, _ in SAME])
def test_as_keras(kind: str, options: Any, inputs: Any) -> None:
    if kind == "Dense":
        with float64():
            ours, theirs = pair(kind, inputs, **options)
            assert_close64([ours(inputs)], [np.asarray(theirs(inputs))])
    else:
        assert_same(kind, inputs, **options)


@pytest.mark.parametrize("kind", sorted({kind for kind, _, _ in SAME}))
def test_in_a_file(kind: str, tmp_path: Any) -> None:
    """Each option, and what an LSTM makes of it, which reads the mask that comes with it.

    Keras's Softmax takes no mask (B,T), and after glu Keras builds an LSTM for twice the features and cannot run it.
    """

    def build(library: Any) -> Any:
        inputs, outputs = [], []
        for own, options, array in SAME:
            if own == kind:
                inputs.append(library.Input(array.shape[1:]))
                masked = library.Masking()(inputs[-1]) if array.ndim == 3 and kind != "Softmax" else inputs[-1]
                outputs.append(getattr(library, kind)(**options)(masked))
                if len(outputs[-1].shape) == 3 and options.get("activation") != "glu":
                    outputs.append(library.LSTM(2)(outputs[-1]))
        return inputs, outputs

    arrays = [array.astype(np.float32) for own, _, array in SAME if own == kind]
    arrays = [array if len(array) else np.zeros((B, *array.shape[1:]), np.float32) for array in arrays]
    for array in (array for array in arrays if array.ndim == 3):
        array[1, 3:] = 0  # which Masking masks
    assert_same_model(build, arrays, tmp_path)


def test_every_activation_of_keras_has_its_name_here() -> None:
    from keras.src.activations import ALL_OBJECTS_DICT

    with float64():
        for name in set(ALL_OBJECTS_DICT) - {"threshold"}:  # which needs numbers that a name does not give
            expected = np.asarray(keras.layers.Activation(name, dtype="float64")(x))
            assert_close64([layers.Activation(name, dtype="float64")(x)], [expected])


def test_threshold_is_refused_as_in_keras() -> None:
    with pytest.raises(TypeError, match=r"missing 2 required positional arguments: 'threshold' and 'default_value'"):
        keras.layers.Activation("threshold")(x)
    with pytest.raises(UnsupportedError, match="layer 'a': activation 'threshold' needs two numbers"):
        layers.Activation("threshold", name="a")


def test_softmax_with_a_mask() -> None:
    mask = np.random.default_rng(4).random((B, T, H)) < 0.5
    mask[0, 0] = False
    with float64():
        for axis in (-1, 1, [1, 2]):
            ours, theirs = pair("Softmax", x, axis=axis)
            assert_close64([ours(x, mask=mask)], [np.asarray(theirs(x, mask=mask))])


STEPS = [
    ("Reshape", {"target_shape": (-1, 2, 2)}), ("Permute", {"dims": (1, 2)}), ("PReLU", {"shared_axes": [1]}),
    ("Softmax", {}), ("ReLU", {"threshold": 0.5}), ("ELU", {}), ("LeakyReLU", {}), ("Identity", {}),
    ("Activation", {"activation": "sparsemax"}), ("Activation", {"activation": "glu"}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options"), STEPS, ids=str)
def test_steps(kind: str, options: Any) -> None:
    layer = getattr(layers, kind)(dtype="float64", **options)
    layer(x)
    layer.set_weights([np.random.default_rng(1).normal(size=w.shape) for w in layer.get_weights()])
    for t in range(T):
        np.testing.assert_array_equal(layer.step(x[:, t])[0], layer(x)[:, t])


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("Flatten", {}, "it makes one vector of all time steps"),
        ("Reshape", {"target_shape": (5, 2, 2)}, "its target_shape fixes the number of time steps"),
        ("Reshape", {"target_shape": (-1, 2)}, "it moves numbers from one time step to another"),
        ("Permute", {"dims": (2, 1)}, "it puts another axis in the place of time"),
        ("PReLU", {}, "it has another alpha at each time step"),
        ("Softmax", {"axis": 1}, "it goes along the time axis"),
    ],
)
def test_what_cannot_step(kind: str, options: Any, reason: str) -> None:
    layer = getattr(layers, kind)(dtype="float64", name="l", **options)
    layer(x)
    with pytest.raises(UnsupportedError, match=f"layer 'l' cannot go one step at a time: {reason}"):
        layer.step(x[:, 0])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: layers.Reshape((-1, -1)), OptionError, "of which one may be -1"),
        (lambda: layers.Reshape((3,), dtype="float64")(x), ShapeError, r"its 20 numbers \(5, 4\) do not fill"),
        (lambda: layers.Permute((0, 1)), OptionError, "each axis from 1 on once"),
        (lambda: layers.Permute((1,))(x), ShapeError, "orders 1 axes after the batch"),
        (lambda: layers.RepeatVector(0), OptionError, "n must be a whole number from 1 on"),
        (lambda: layers.ReLU(max_value=-1), OptionError, "max_value must be a number from 0 on"),
        (lambda: layers.GaussianNoise(2), OptionError, "stddev must be a number from 0 to 1"),
        (lambda: layers.Softmax(3, dtype="float64")(x), ShapeError, "goes along axis 3"),
        (lambda: layers.Activation("glu", dtype="float64")(x[..., :3]), ShapeError, "whose last size is odd"),
        (lambda: layers.PReLU()(layers.Input((None, 2))), ShapeError, "share alpha along that axis"),
    ],
)
def test_refusals(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()
