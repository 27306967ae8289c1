"""What our layers add to Keras's (cell states, gates, resets, a trainable initial state) against the oracle."""

from __future__ import annotations

from typing import Any

import equations
import jax
import keras
import numpy as np
import pytest
from keras_twins import (
    NAMES,
    B,
    H,
    I,
    T,
    every_cell,
    found_of,
    make,
    outputs,
    random_weights,
    stateless,
    states,
    twins,
    weights_of,
)  # fmt: skip
from tolerances import assert_close64, value_tolerance
from wide_floats import float64

from everystep.cells import CELLS
from everystep.keras import layers

ALL = dict(return_sequences=True, return_state=True)
OURS = dict(return_cell_sequences=True, return_gates=True)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("with_resets", [False, True])
@every_cell
def test_values_and_gradients(cell: str, backwards: bool, masked: bool, with_resets: bool) -> None:
    rng = np.random.default_rng([backwards, masked, with_resets])
    with float64():
        layer, _ = twins(rng, cell, ours=OURS, go_backwards=backwards, dtype="float64", **ALL)
        x, state = rng.normal(size=(B, T, I)), states(rng, cell)
        mask = rng.random((B, T)) < 0.6 if masked else None
        resets = rng.random((B, T)) < 0.4 if with_resets else None
        oracle = equations.run(cell, x, state, weights_of(layer), mask=mask, resets=resets, backwards=backwards)
        d = [rng.normal(size=v.shape) for v in found_of(oracle)]

        def loss(x: Any, state: Any, trainable: Any) -> Any:
            out = stateless(layer, trainable, x, initial_state=state, mask=mask, resets=resets)
            return sum((a * b).sum() for a, b in zip(d, out, strict=True)), out

        trainable = [v.value for v in layer.trainable_variables]
        found, out = jax.grad(loss, (0, 1, 2), has_aux=True)(x, state, trainable)
        assert_close64([np.asarray(v) for v in out], found_of(oracle))
        wanted = gradient_of(oracle, d)
        # Resets go back to the initial state, too.
        by_state = [wanted[f"{s}0"] + wanted[f"reset_{s}"] for s in CELLS[cell].states]
        assert_close64(
            [np.asarray(v) for v in keras.tree.flatten(found)], [wanted["x"], *by_state, *(wanted[n] for n in NAMES)]
        )


def gradient_of(oracle: equations.Run, d: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Where d arrives at what `found_of` lists."""
    d_h, *d_states = d[: 1 + len(oracle.states)]
    d_c = None if oracle.c is None else d[-2]
    return equations.gradient(oracle, d_h=d_h, d_c=d_c, d_gates=d[-1], d_states=d_states)


@every_cell
def test_dropout_is_per_gate_in_the_gates(cell: str) -> None:
    """With recurrent dropout the cell draws a mask of x for each gate, then one of h for each gate."""
    rng = np.random.default_rng(3)
    with float64():
        options = dict(dropout=0.5, recurrent_dropout=0.5, seed=11, dtype="float64", **ALL)
        layer, _ = twins(rng, cell, ours=OURS, **options)
        x = rng.normal(size=(B, T, I))
        seed = keras.random.SeedGenerator(11)
        dropout, recurrent_dropout = (
            np.stack([keras.random.dropout(np.ones(shape), 0.5, seed=seed) for _ in CELLS[cell].gates])
            for shape in ((B, I), (B, H))
        )
        zeros = [np.zeros((B, H))] * len(CELLS[cell].states)
        factors = dict(dropout=dropout, recurrent_dropout=recurrent_dropout)
        oracle = equations.run(cell, x, zeros, weights_of(layer), **factors)
        assert_close64(outputs(layer, x, training=True), found_of(oracle))


@every_cell
def test_trainable_initial_state(cell: str) -> None:
    rng = np.random.default_rng(4)
    letters = CELLS[cell].states
    with float64():
        layer, _ = twins(rng, cell, ours=dict(trainable_initial_state=True, **OURS), dtype="float64", **ALL)
        assert [w.name for w in layer.weights] == [*NAMES, *(f"initial_{letter}" for letter in letters)]
        x = rng.normal(size=(B, T, I))
        state = [np.tile(row, (B, 1)) for row in layer.get_weights()[3:]]
        resets = rng.random((B, T)) < 0.4
        oracle = equations.run(cell, x, state, weights_of(layer), resets=resets)
        assert_close64(outputs(layer, x, resets=resets), found_of(oracle))

        d = [rng.normal(size=v.shape) for v in found_of(oracle)]

        def loss(trainable: Any) -> Any:
            out = stateless(layer, trainable, x, resets=resets)
            return sum((a * b).sum() for a, b in zip(d, out, strict=True))

        found = jax.grad(loss)([v.value for v in layer.trainable_variables])
        gradient = gradient_of(oracle, d)
        by_state = [(gradient[f"{s}0"] + gradient[f"reset_{s}"]).sum(axis=0) for s in letters]
        assert_close64([np.asarray(v) for v in found], [*(gradient[n] for n in NAMES), *by_state])

        explicit = states(rng, cell)  # goes before the trainable one, for resets too
        oracle = equations.run(cell, x, explicit, weights_of(layer), resets=resets)
        assert_close64(outputs(layer, x, initial_state=explicit, resets=resets)[:1], [oracle.h])


@every_cell
def test_a_stateful_layer_resets_rows_and_itself_to_the_trainable_state(cell: str) -> None:
    rng = np.random.default_rng(5)
    with float64():
        layer, _ = twins(rng, cell, ours=dict(trainable_initial_state=True), stateful=True, dtype="float64", **ALL)
        layer.reset_state()  # the weights were set after the states were made
        x = rng.normal(size=(B, T, I))
        initial = [np.tile(row, (B, 1)) for row in layer.get_weights()[3:]]
        first = equations.run(cell, x, initial, weights_of(layer))
        assert_close64(outputs(layer, x), [first.h, *first.states])
        resets = np.zeros((B, T), bool)
        resets[1, 2] = True
        second = equations.run(cell, x, first.states, weights_of(layer), resets=resets, reset_states=initial)
        assert_close64(outputs(layer, x, resets=resets), [second.h, *second.states])
        layer.reset_state()
        assert_close64([np.asarray(v) for v in layer.states], initial)


@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("return_state", [False, True])
@every_cell
def test_shapes_masks_and_order_in_a_model(cell: str, return_sequences: bool, return_state: bool) -> None:
    rng = np.random.default_rng(6)
    inputs = keras.Input((None, I))
    options = dict(return_sequences=return_sequences, return_state=return_state, go_backwards=True)
    layer = make(layers, cell, **options, **OURS)
    symbolic = layer(keras.layers.Masking()(inputs))
    G, n = len(CELLS[cell].gates), len(CELLS[cell].states)
    tail = [*[(None, None, H)] * (n - 1), (None, None, G, H)]
    of_states = [(None, H)] * n if return_state else []
    assert [tuple(v.shape) for v in symbolic] == [(None, None, H) if return_sequences else (None, H), *of_states, *tail]
    model = keras.Model(inputs, symbolic)
    random_weights(layer, rng)
    x = rng.normal(size=(B, T, I)).astype(np.float32)
    x[0, 1:3] = 0  # masked
    mask = np.any(x != 0, axis=-1)
    tolerance = value_tolerance(layer, x, mask, backwards=True)
    for a, b in zip(model.predict(x, verbose=0), outputs(layer, x, mask=mask), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)
    own, *masks = layer.compute_mask(x, mask)
    assert (own is None) == (not return_sequences)
    assert [m is None for m in masks] == [True] * len(of_states) + [False] * (n - 1) + [True]  # c has one, gates none
    for m in masks[len(of_states) : -1]:
        np.testing.assert_array_equal(m, mask[:, ::-1])  # in processing order, as c is


@every_cell
def test_a_loss_on_masked_gates_is_the_mean_of_them(cell: str) -> None:
    rng = np.random.default_rng(7)
    inputs = keras.Input((T, I))
    layer = make(layers, cell, **OURS)
    model = keras.Model(inputs, layer(keras.layers.Masking()(inputs))[-1])
    random_weights(layer, rng)
    model.compile("sgd", "mse")
    x = rng.normal(size=(B, T, I)).astype(np.float32)
    x[0, 1:3] = 0  # masked
    y = rng.normal(size=(B, T, len(CELLS[cell].gates), H)).astype(np.float32)
    wanted = np.mean((model.predict(x, verbose=0).astype(np.float64) - y) ** 2)
    # Sums of numbers of one sign, in float32, at most this many.
    np.testing.assert_allclose(model.evaluate(x, y, verbose=0), wanted, rtol=y.size * np.finfo(np.float32).eps)


@every_cell
def test_the_config_round_trip_keeps_every_option(cell: str) -> None:
    options = dict(activation="relu", dropout=0.2, zero_output_for_mask=True, trainable_initial_state=True)
    layer = make(layers, cell, name="a", **options, **OURS)
    config = layer.get_config()
    twin = type(layer).from_config(config)
    assert twin.get_config() == config
    added = {name: getattr(twin, name) for name in (*OURS, "trainable_initial_state")}
    assert added == dict(OURS, return_cell_sequences=cell == "lstm", trainable_initial_state=True)
    assert ("return_cell_sequences" in config) == (cell == "lstm")
    assert twin.activation is keras.activations.relu


@pytest.mark.parametrize("name", ["GRU", "SimpleRNN"])
def test_a_layer_whose_only_state_is_its_output_has_no_cell_sequences(name: str) -> None:
    with pytest.raises((TypeError, ValueError), match="return_cell_sequences"):
        getattr(layers, name)(2, return_cell_sequences=True)
