"""The same code under Keras and under everystep: configs, the order of weights, and numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from tolerances import assert_close64
from topologies import TOPOLOGIES, Names, data, random_weights
from wide_floats import keras_in_float64

import everystep
import everystep.keras
from everystep.layers import naming


@pytest.fixture(autouse=True)
def same_start() -> Iterator[None]:
    """Both libraries number layers from the start; Keras hands float64 on."""
    keras.utils.clear_session()
    naming._taken.clear()
    with keras_in_float64():
        yield


def leaves(value: Any) -> list[Any]:
    return keras.tree.flatten(value)


def plain(config: Any) -> Any:
    """A config without what only Keras's training, or its building of layers, reads."""
    if isinstance(config, dict):
        left = {key: plain(value) for key, value in config.items()}
        left.pop("build_config", None)
        left.pop("compile_config", None)
        if "build_input_shape" in left:
            left.pop("dtype")  # a Sequential's, which is Keras's floatx
        if "layers" in left and left["name"].startswith("functional"):
            left["name"] = "functional"  # Keras's Sequential takes numbers of this name too
        if set(left) == {"args", "kwargs"}:
            left["kwargs"] = {
                name: value for name, value in left["kwargs"].items() if name != "training" and any(leaves(value))
            }
        return left
    return [plain(value) for value in config] if isinstance(config, (list, tuple)) else config


@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda f: f.__name__)
def test_same_config_weights_and_numbers(topology: Any) -> None:
    rng = np.random.default_rng(1)
    theirs, ours = topology(Names(keras)), topology(Names(everystep))
    assert plain(ours.get_config()) == plain(theirs.get_config())
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in theirs.get_weights()]
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]
    assert ours.output_names == (theirs.output_names if hasattr(theirs, "output_names") else ours.output_names)
    assert ours.count_params() == theirs.count_params()
    theirs.set_weights(random_weights(ours, rng))
    x = data(ours, rng)
    if isinstance(ours.input, dict):
        x = {tensor.name: array for tensor, array in zip(ours.inputs, x, strict=True)}
    expected, found = theirs.predict(x, verbose=0), ours.predict(x)
    keras.tree.assert_same_structure(found, expected)
    assert_close64(leaves(found), leaves(expected))
    for array, one in zip(leaves(found), leaves(ours.predict(x, batch_size=2)), strict=True):
        np.testing.assert_array_equal(array, one)
    for array, one in zip(leaves(found), leaves(ours(x)), strict=True):
        np.testing.assert_array_equal(array, one)


@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda f: f.__name__)
def test_a_config_makes_the_same_model(topology: Any) -> None:
    rng = np.random.default_rng(2)
    ours = topology(Names(everystep))
    config = json.loads(json.dumps(ours.get_config()))
    copy = type(ours).from_config(config)
    assert json.loads(json.dumps(copy.get_config())) == config
    copy.set_weights(random_weights(ours, rng))
    x = data(ours, rng)
    for a, b in zip(leaves(ours.predict(_shaped(ours, x))), leaves(copy.predict(_shaped(copy, x))), strict=True):
        np.testing.assert_array_equal(a, b)


def _shaped(model: Any, x: list[Any]) -> Any:
    if isinstance(model.input, dict):
        return {tensor.name: array for tensor, array in zip(model.inputs, x, strict=True)}
    return x


def test_ids_for_a_model_in_a_model_that_takes_fractions() -> None:
    """As a Sequential that begins with Embedding does: what it is given is cast."""

    def made(library: Any) -> Any:
        layers, wide = library.layers, {"dtype": "float64"}
        encoder = library.Sequential([layers.Embedding(10, 4, mask_zero=True, **wide), layers.LSTM(3, **wide)])
        ids = library.Input((None,), dtype="int32")
        return library.Model(ids, encoder(ids))

    theirs, ours, rng = made(keras), made(everystep), np.random.default_rng(7)
    theirs.set_weights(random_weights(ours, rng))
    ours.set_weights(theirs.get_weights())
    given = rng.integers(0, 10, (3, 6)).astype("int32")
    assert_close64([ours.predict(given)], [theirs.predict(given, verbose=0)])
