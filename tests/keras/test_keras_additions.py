"""What our layer adds to Keras's (cell states, gates, resets, a trainable initial state) against the oracle."""

from __future__ import annotations

from typing import Any

import equations
import jax
import keras
import numpy as np
import pytest
from keras_twins import B, H, I, T, outputs, random_weights, stateless, twins
from tolerances import assert_close64, value_tolerance
from wide_floats import float64

from everystep.keras.layers import LSTM

NAMES = ("kernel", "recurrent_kernel", "bias")
ALL = dict(return_sequences=True, return_state=True)
OURS = dict(return_cell_sequences=True, return_gates=True)


def weights_of(layer: Any) -> dict[str, np.ndarray]:
    return dict(zip(NAMES, layer.get_weights(), strict=False))


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("with_resets", [False, True])
def test_values_and_gradients(backwards: bool, masked: bool, with_resets: bool) -> None:
    rng = np.random.default_rng([backwards, masked, with_resets])
    with float64():
        layer, _ = twins(rng, ours=OURS, go_backwards=backwards, dtype="float64", **ALL)
        x, *state = (rng.normal(size=shape) for shape in ((B, T, I), (B, H), (B, H)))
        mask = rng.random((B, T)) < 0.6 if masked else None
        resets = rng.random((B, T)) < 0.4 if with_resets else None
        d_h, d_last_h, d_last_c, d_c, d_gates = d = [
            rng.normal(size=shape) for shape in ((B, T, H), (B, H), (B, H), (B, T, H), (B, T, 4, H))
        ]

        def loss(x: Any, state: Any, trainable: Any) -> Any:
            out = stateless(layer, trainable, x, initial_state=state, mask=mask, resets=resets)
            return sum((a * b).sum() for a, b in zip(d, out, strict=True)), out

        trainable = [v.value for v in layer.trainable_variables]
        found, out = jax.grad(loss, (0, 1, 2), has_aux=True)(x, state, trainable)
        oracle = equations.lstm(x, state, weights_of(layer), mask=mask, resets=resets, backwards=backwards)
        assert_close64([np.asarray(v) for v in out], [oracle.h, *oracle.states, oracle.c, oracle.gates])
        wanted = equations.gradient(oracle, d_h=d_h, d_c=d_c, d_gates=d_gates, d_states=(d_last_h, d_last_c))
        by_state = [wanted["h0"] + wanted["reset_h"], wanted["c0"] + wanted["reset_c"]]  # resets go back to it, too
        assert_close64(
            [np.asarray(v) for v in keras.tree.flatten(found)], [wanted["x"], *by_state, *(wanted[n] for n in NAMES)]
        )


def test_dropout_is_per_gate_in_the_gates() -> None:
    """With recurrent dropout the cell draws four masks of x and four of h, in that order."""
    rng = np.random.default_rng(3)
    with float64():
        options = dict(dropout=0.5, recurrent_dropout=0.5, seed=11, dtype="float64", **ALL)
        layer, _ = twins(rng, ours=OURS, **options)
        x = rng.normal(size=(B, T, I))
        seed = keras.random.SeedGenerator(11)
        factors = [
            [np.asarray(keras.random.dropout(np.ones(shape), 0.5, seed=seed)) for _ in range(4)]
            for shape in ((B, I), (B, H))
        ]
        zeros = np.zeros((B, H)), np.zeros((B, H))
        dropout, recurrent_dropout = (np.stack(f) for f in factors)
        oracle = equations.lstm(x, zeros, weights_of(layer), dropout=dropout, recurrent_dropout=recurrent_dropout)
        assert_close64(outputs(layer, x, training=True), [oracle.h, *oracle.states, oracle.c, oracle.gates])


def test_trainable_initial_state() -> None:
    rng = np.random.default_rng(4)
    with float64():
        layer, _ = twins(rng, ours=dict(trainable_initial_state=True, **OURS), dtype="float64", **ALL)
        assert [w.name for w in layer.weights] == [*NAMES, "initial_h", "initial_c"]
        x = rng.normal(size=(B, T, I))
        *_, h0, c0 = layer.get_weights()
        state = np.tile(h0, (B, 1)), np.tile(c0, (B, 1))
        resets = rng.random((B, T)) < 0.4
        oracle = equations.lstm(x, state, weights_of(layer), resets=resets)
        wanted = [oracle.h, *oracle.states, oracle.c, oracle.gates]
        assert_close64(outputs(layer, x, resets=resets), wanted)

        d = [rng.normal(size=v.shape) for v in wanted]

        def loss(trainable: Any) -> Any:
            out = stateless(layer, trainable, x, resets=resets)
            return sum((a * b).sum() for a, b in zip(d, out, strict=True))

        found = jax.grad(loss)([v.value for v in layer.trainable_variables])
        gradient = equations.gradient(oracle, d_h=d[0], d_c=d[3], d_gates=d[4], d_states=(d[1], d[2]))
        by_state = [(gradient[f"{s}0"] + gradient[f"reset_{s}"]).sum(axis=0) for s in "hc"]
        assert_close64([np.asarray(v) for v in found], [*(gradient[n] for n in NAMES), *by_state])

        explicit = [rng.normal(size=(B, H)) for _ in range(2)]  # goes before the trainable one, for resets too
        oracle = equations.lstm(x, explicit, weights_of(layer), resets=resets)
        assert_close64(outputs(layer, x, initial_state=explicit, resets=resets)[:1], [oracle.h])


def test_a_stateful_layer_resets_rows_and_itself_to_the_trainable_state() -> None:
    rng = np.random.default_rng(5)
    with float64():
        layer, _ = twins(rng, ours=dict(trainable_initial_state=True), stateful=True, dtype="float64", **ALL)
        layer.reset_state()  # the weights were set after the states were made
        x = rng.normal(size=(B, T, I))
        *_, h0, c0 = layer.get_weights()
        initial = np.tile(h0, (B, 1)), np.tile(c0, (B, 1))
        first = equations.lstm(x, initial, weights_of(layer))
        assert_close64(outputs(layer, x), [first.h, *first.states])
        resets = np.zeros((B, T), bool)
        resets[1, 2] = True
        second = equations.lstm(x, first.states, weights_of(layer), resets=resets, reset_states=initial)
        assert_close64(outputs(layer, x, resets=resets), [second.h, *second.states])
        layer.reset_state()
        assert_close64([np.asarray(v) for v in layer.states], list(initial))


@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("return_state", [False, True])
def test_shapes_masks_and_order_in_a_model(return_sequences: bool, return_state: bool) -> None:
    rng = np.random.default_rng(6)
    inputs = keras.Input((None, I))
    layer = LSTM(H, return_sequences=return_sequences, return_state=return_state, go_backwards=True, **OURS)
    symbolic = layer(keras.layers.Masking()(inputs))
    tail = [(None, None, H), (None, None, 4, H)]
    states = [(None, H)] * 2 if return_state else []
    assert [tuple(v.shape) for v in symbolic] == [(None, None, H) if return_sequences else (None, H), *states, *tail]
    model = keras.Model(inputs, symbolic)
    random_weights(layer, rng)
    x = rng.normal(size=(B, T, I)).astype(np.float32)
    x[0, 1:3] = 0  # masked
    mask = np.any(x != 0, axis=-1)
    tolerance = value_tolerance(layer, x, mask, backwards=True)
    for a, b in zip(model.predict(x, verbose=0), outputs(layer, x, mask=mask), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)
    masks = layer.compute_mask(x, mask)
    assert masks[-1] is None  # of the gates
    np.testing.assert_array_equal(masks[-2], mask[:, ::-1])  # in processing order, as c is
    assert [m is None for m in masks[:-2]] == [not return_sequences] + [True] * len(states)


def test_a_loss_on_masked_gates_is_the_mean_of_them() -> None:
    rng = np.random.default_rng(7)
    inputs = keras.Input((T, I))
    layer = LSTM(H, **OURS)
    model = keras.Model(inputs, layer(keras.layers.Masking()(inputs))[-1])
    random_weights(layer, rng)
    model.compile("sgd", "mse")
    x = rng.normal(size=(B, T, I)).astype(np.float32)
    x[0, 1:3] = 0  # masked
    y = rng.normal(size=(B, T, 4, H)).astype(np.float32)
    wanted = np.mean((model.predict(x, verbose=0).astype(np.float64) - y) ** 2)
    # Sums of numbers of one sign, in float32, at most this many.
    np.testing.assert_allclose(model.evaluate(x, y, verbose=0), wanted, rtol=y.size * np.finfo(np.float32).eps)


def test_the_config_round_trip_keeps_every_option() -> None:
    layer = LSTM(
        H, activation="relu", dropout=0.2, zero_output_for_mask=True, trainable_initial_state=True, name="a", **OURS
    )
    config = layer.get_config()
    twin = LSTM.from_config(config)
    assert twin.get_config() == config
    assert (twin.return_cell_sequences, twin.return_gates, twin.trainable_initial_state) == (True, True, True)
    assert twin.activation is keras.activations.relu
