"""Pickled and copied models: the same structure, weights and numbers."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from topologies import TOPOLOGIES, H, I, Names, T, data, random_weights

import everystep
from everystep import Input, Model, Sequential
from everystep.layers import LSTM, Dense, Layer
from everystep.layers.structure import flatten

K = Names(everystep, "float32")


def again(model: Any) -> Any:
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("copied", [again, copy.deepcopy], ids=["pickle", "deepcopy"])
def test_the_same_model_again(topology: Any, copied: Any) -> None:
    rng = np.random.default_rng(60)
    model = topology(K)
    random_weights(model, rng)
    x = {t.name: a for t, a in zip(model.inputs, data(model, rng), strict=True)}
    x = x if isinstance(model.input_structure, dict) or len(x) > 1 else next(iter(x.values()))
    expected = model.predict(x)  # packs the weights
    other = copied(model)
    assert type(other) is type(model)
    assert other.get_config() == model.get_config()
    found = other.predict(x)
    assert type(found) is type(expected)
    for a, b in zip(flatten(found), flatten(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    assert list(other.named_weights) == list(model.named_weights)
    other.set_weights([w * 0 for w in other.get_weights()])
    for a, b in zip(flatten(model.predict(x)), flatten(expected), strict=True):
        np.testing.assert_array_equal(a, b)


def test_deep_models_layers_alone_and_models_to_be() -> None:
    x = y = Input((3,))
    for _ in range(500):
        y = Dense(3)(y)
    values = np.ones((1, 3))
    np.testing.assert_array_equal(again(Model(x, y)).predict(values), Model(x, y).predict(values))

    layer = LSTM(H, name="rec")
    sequence = np.ones((1, T, I), np.float32)
    expected = layer(sequence)
    other: Layer = again(layer)
    np.testing.assert_array_equal(other(sequence), expected)
    assert other.name == "rec"

    np.testing.assert_array_equal(again(Sequential([layer])).predict(sequence), expected)  # without an Input as yet
    tensor = again(Input((3,), name="x").history.operation).output
    assert (tensor.name, tensor.shape) == ("x", (None, 3))


def test_a_layer_in_two_models_stays_one() -> None:
    shared = Dense(I)
    x = Input((I,))
    one, two = again([Model(x, shared(x)), Sequential([Input((I,)), shared])])
    one.set_weights([w * 0 + 1 for w in one.get_weights()])
    np.testing.assert_array_equal(one.predict(np.ones((1, I))), two.predict(np.ones((1, I))))
