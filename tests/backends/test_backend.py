"""Our LSTM under whichever backend Keras has here: the same numbers and gradients, on the engine or on Keras's loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equations
import keras
import numpy as np
import pytest
from tolerances import assert_close64
from wide_floats import float64

import everystep.keras as ours  # first: it may choose Keras's backend

BACKEND = keras.backend.backend()
B, T, I, H = 4, 5, 2, 3
NAMES = ("kernel", "recurrent_kernel", "bias")
ALL = dict(return_sequences=True, return_state=True, return_cell_sequences=True, return_gates=True, dtype="float64")


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    with float64():
        yield


def layer_with_weights(rng: np.random.Generator, **options: Any) -> Any:
    layer = ours.layers.LSTM(H, **(ALL | options))
    layer.build((B, T, I))
    layer.set_weights([rng.normal(0, 0.6, w.shape) for w in layer.get_weights()])
    return layer


def weights_of(layer: Any) -> dict[str, np.ndarray]:
    return dict(zip(NAMES, layer.get_weights(), strict=True))


def arrays(values: Any) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(v) for v in keras.tree.flatten(values)]


def test_the_route_says_where_it_runs() -> None:
    name, reason = ours.routes(ours.layers.LSTM(2, name="a"))["a"]
    if BACKEND == "jax":
        assert name == "engine"
    else:
        assert (name, reason) == ("loop", f"Keras's backend is {BACKEND!r}; the engine runs under jax")


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_values_with_every_addition(backwards: bool, masked: bool) -> None:
    rng = np.random.default_rng([backwards, masked])
    layer = layer_with_weights(rng, go_backwards=backwards)
    x, h, c = (rng.normal(size=shape) for shape in ((B, T, I), (B, H), (B, H)))
    mask = rng.random((B, T)) < 0.6 if masked else None
    resets = rng.random((B, T)) < 0.3
    found = arrays(layer(x, initial_state=[h, c], mask=mask, resets=resets))
    oracle = equations.lstm(x, (h, c), weights_of(layer), mask=mask, resets=resets, backwards=backwards)
    assert_close64(found, [oracle.h, *oracle.states, oracle.c, oracle.gates])


@pytest.mark.parametrize("options", [{}, {"unroll": True}, {"implementation": 1}, {"go_backwards": True}], ids=str)
def test_a_masked_step_carries_whatever_the_backend_does(options: dict[str, Any]) -> None:
    """Keras's own backends disagree here: some output zeros, or what a masked step would have computed."""
    rng = np.random.default_rng(3)
    x, mask = rng.normal(size=(B, T, I)), np.array([[1, 1, 0, 0, 0], [0, 1, 0, 1, 1], [0] * 5, [1] * 5], bool)
    zeros = np.zeros((B, H)), np.zeros((B, H))
    plain = dict(return_state=False, return_cell_sequences=False, return_gates=False)
    for zero in (False, True):
        layer = layer_with_weights(rng, zero_output_for_mask=zero, **options, **plain)
        backwards = options.get("go_backwards", False)
        oracle = equations.lstm(x, zeros, weights_of(layer), mask=mask, backwards=backwards)
        seen = mask[:, ::-1] if backwards else mask
        wanted = np.where(seen[..., None], oracle.h, 0) if zero else oracle.h
        assert_close64(arrays(layer(x, mask=mask)), [wanted])


def test_a_training_step_moves_the_weights_by_the_oracles_gradient() -> None:
    """Through every output, under a mask: with the learning rate 1, weights move by the mean gradient of a row.

    What fit is given and Keras's losses are float32: x, d and d / B are exact there.
    """
    rng = np.random.default_rng(4)
    layer = layer_with_weights(rng)
    before = weights_of(layer)
    inputs = keras.Input((T, I), dtype="float64")
    mask = keras.Input((T,), dtype="bool")
    model = ours.models.Model([inputs, mask], [1.0 * v for v in layer(inputs, mask=mask)])  # a product has no mask
    model.compile(
        keras.optimizers.SGD(1.0), [lambda d, y: keras.ops.sum(keras.ops.reshape(d * y, (B, -1)), axis=-1)] * 5
    )
    x, *d = (
        rng.normal(size=shape).astype(np.float32).astype(np.float64)
        for shape in ((B, T, I), (B, T, H), (B, H), (B, H), (B, T, H), (B, T, 4, H))
    )
    seen = rng.random((B, T)) < 0.7
    model.fit([x, seen], d, batch_size=B, verbose=0)
    oracle = equations.lstm(x, (np.zeros((B, H)), np.zeros((B, H))), before, mask=seen)
    gradient = equations.gradient(oracle, d_h=d[0], d_states=(d[1], d[2]), d_c=d[3], d_gates=d[4])
    after = weights_of(layer)
    assert_close64([before[n] - after[n] for n in NAMES], [gradient[n] / B for n in NAMES])


def test_fit_and_saving(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(32, T, I))
    y = x[:, -1, :1] - x[:, 0, 1:]
    model = ours.Sequential(
        [
            keras.Input((T, I), dtype="float64"),
            ours.layers.LSTM(8, trainable_initial_state=True, dtype="float64"),
            ours.layers.Dense(1, dtype="float64"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.05), "mse")
    losses = model.fit(x, y, epochs=25, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2
    model.save(tmp_path / "m.keras")
    loaded = ours.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert type(loaded.layers[0]) is ours.layers.LSTM


def test_a_stateful_layer_goes_on() -> None:
    rng = np.random.default_rng(6)
    layer = layer_with_weights(rng, stateful=True)
    x = rng.normal(size=(B, 2 * T, I))
    whole = equations.lstm(x, (np.zeros((B, H)), np.zeros((B, H))), weights_of(layer))
    halves = [arrays(layer(part)) for part in np.split(x, 2, axis=1)]
    assert_close64([np.concatenate([a[0], b[0]], axis=1) for a, b in [halves]], [whole.h])
    assert_close64(halves[1][1:3], list(whole.states))
