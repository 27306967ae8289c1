"""Our layers under whichever backend Keras has here: the same numbers and gradients, on the engine or on a loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equations
import keras
import numpy as np
import pytest
from keras_twins import NAMES, every_cell, found_of, make, weights_of
from tolerances import assert_close64
from wide_floats import float64

import everystep.keras as ours  # first: it may choose Keras's backend
from everystep.cells import CELLS

BACKEND = keras.backend.backend()
B, T, I, H = 4, 5, 2, 3
ALL = dict(return_sequences=True, return_state=True, return_cell_sequences=True, return_gates=True, dtype="float64")


@pytest.fixture(autouse=True)
def in_float64() -> Iterator[None]:
    with float64():
        yield


def with_weights(rng: np.random.Generator, layer: Any) -> Any:
    layer.build((B, T, I))
    layer.set_weights([rng.normal(0, 0.6, w.shape) for w in layer.get_weights()])
    return layer


def layer_with_weights(rng: np.random.Generator, cell: str = "lstm", **options: Any) -> Any:
    return with_weights(rng, make(ours.layers, cell, H, **(ALL | options)))


def states_of(rng: np.random.Generator, cell: str) -> list[np.ndarray]:
    return [rng.normal(size=(B, H)) for _ in CELLS[cell].states]


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
@every_cell
def test_values_with_every_addition(cell: str, backwards: bool, masked: bool) -> None:
    rng = np.random.default_rng([backwards, masked])
    layer = layer_with_weights(rng, cell, go_backwards=backwards)
    x, state = rng.normal(size=(B, T, I)), states_of(rng, cell)
    mask = rng.random((B, T)) < 0.6 if masked else None
    resets = rng.random((B, T)) < 0.3
    found = arrays(layer(x, initial_state=state, mask=mask, resets=resets))
    oracle = equations.run(cell, x, state, weights_of(layer), mask=mask, resets=resets, backwards=backwards)
    assert_close64(found, found_of(oracle))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cells", [("lstm", "gru"), ("simple", "gru_reset_before")], ids="+".join)
def test_both_directions_with_every_addition(cells: tuple[str, str], masked: bool) -> None:
    """The backward direction's sequences come in time order."""
    rng = np.random.default_rng(masked)
    sides = [make(ours.layers, cell, H, go_backwards=k == 1, **ALL) for k, cell in enumerate(cells)]
    layer = with_weights(rng, ours.layers.Bidirectional(sides[0], None, backward_layer=sides[1], dtype="float64"))
    x, states = rng.normal(size=(B, T, I)), [states_of(rng, cell) for cell in cells]
    mask = rng.random((B, T)) < 0.6 if masked else None
    found = arrays(layer(x, initial_state=[*states[0], *states[1]], mask=mask))
    forward, backward = (
        equations.run(cell, x, state, weights_of(side), mask=mask, backwards=k == 1)
        for k, (cell, state, side) in enumerate(zip(cells, states, (layer.forward_layer, layer.backward_layer),
                                                    strict=True))
    )  # fmt: skip
    seen = np.ones((B, T), bool) if mask is None else mask
    wanted = [np.where(seen[..., None], h, 0) for h in (forward.h, backward.h[:, ::-1])]
    wanted += [*forward.states, *backward.states]
    wanted += [c for c in (forward.c, None if backward.c is None else backward.c[:, ::-1]) if c is not None]
    assert_close64(found, [*wanted, forward.gates, backward.gates[:, ::-1]])


@pytest.mark.parametrize("masked", [False, True])
def test_a_stack_of_cells(masked: bool) -> None:
    rng = np.random.default_rng(masked)
    cells = [keras.layers.GRUCell(2, dtype="float64"), keras.layers.LSTMCell(H, dtype="float64")]
    layer = with_weights(rng, ours.layers.RNN(cells, **ALL))
    x, mask = rng.normal(size=(B, T, I)), rng.random((B, T)) < 0.6 if masked else None
    weights = layer.get_weights()
    low = equations.gru(x, [np.zeros((B, 2))], dict(zip(NAMES, weights[:3], strict=True)), mask=mask)
    top = equations.lstm(low.h, [np.zeros((B, H))] * 2, dict(zip(NAMES, weights[3:], strict=True)), mask=mask)
    assert_close64(arrays(layer(x, mask=mask)), [top.h, *low.states, *top.states, top.c, low.gates, top.gates])


@pytest.mark.parametrize("options", [{}, {"unroll": True}, {"implementation": 1}, {"go_backwards": True}], ids=str)
@every_cell
def test_a_masked_step_carries_whatever_the_backend_does(cell: str, options: dict[str, Any]) -> None:
    """Keras's own backends disagree here: some output zeros, or what a masked step would have computed."""
    rng = np.random.default_rng(3)
    x, mask = rng.normal(size=(B, T, I)), np.array([[1, 1, 0, 0, 0], [0, 1, 0, 1, 1], [0] * 5, [1] * 5], bool)
    zeros = [np.zeros((B, H)) for _ in CELLS[cell].states]
    plain = dict(return_state=False, return_cell_sequences=False, return_gates=False)
    for zero in (False, True):
        layer = layer_with_weights(rng, cell, zero_output_for_mask=zero, **options, **plain)
        backwards = options.get("go_backwards", False)
        oracle = equations.run(cell, x, zeros, weights_of(layer), mask=mask, backwards=backwards)
        seen = mask[:, ::-1] if backwards else mask
        wanted = np.where(seen[..., None], oracle.h, 0) if zero else oracle.h
        assert_close64(arrays(layer(x, mask=mask)), [wanted])


@every_cell
def test_a_training_step_moves_the_weights_by_the_oracles_gradient(cell: str) -> None:
    """Through every output, under a mask: with the learning rate 1, weights move by the mean gradient of a row.

    What fit is given and Keras's losses are float32: x, d and d / B are exact there.
    """
    rng = np.random.default_rng(4)
    layer, n = layer_with_weights(rng, cell), len(CELLS[cell].states)
    before = weights_of(layer)
    inputs = keras.Input((T, I), dtype="float64")
    mask = keras.Input((T,), dtype="bool")
    model = ours.models.Model([inputs, mask], [1.0 * v for v in layer(inputs, mask=mask)])  # a product has no mask
    model.compile(
        keras.optimizers.SGD(1.0),
        [lambda d, y: keras.ops.sum(keras.ops.reshape(d * y, (B, -1)), axis=-1)] * len(model.outputs),
    )
    shapes = [(B, T, I), (B, T, H), *[(B, H)] * n, *[(B, T, H)] * (n - 1), (B, T, len(CELLS[cell].gates), H)]
    x, d_h, *d = (rng.normal(size=shape).astype(np.float32).astype(np.float64) for shape in shapes)
    seen = rng.random((B, T)) < 0.7
    model.fit([x, seen], [d_h, *d], batch_size=B, verbose=0)
    oracle = equations.run(cell, x, [np.zeros((B, H))] * n, before, mask=seen)
    d_c = d[n] if n > 1 else None
    gradient = equations.gradient(oracle, d_h=d_h, d_states=d[:n], d_c=d_c, d_gates=d[-1])
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
