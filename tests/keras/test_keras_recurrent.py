"""Our layers of every cell against Keras's: values, gradients, seeds and states, over all options."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from engine_cases import Case
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_twins import NAMES, B, H, I, T, every_cell, gradients, make, outputs, states, twins
from rounding import assert_within, gradient_errors
from tolerances import assert_close64, value_tolerance
from wide_floats import float64

from everystep.cells import ACTIVATIONS, CELLS
from everystep.errors import ShapeError
from everystep.keras import layers
from everystep.keras.route import layer_route

# Smooth ones: at a kink, two roundings of one number may take different slopes.
SMOOTH = ["tanh", "sigmoid", "linear", "softsign", "softplus", "silu", "gelu", "elu", "mish"]

options = st.fixed_dictionaries(
    dict(
        {name: st.booleans() for name in ("return_sequences", "return_state", "go_backwards", "stateful")},
        zero_output_for_mask=st.booleans(),
        use_bias=st.booleans(),
        implementation=st.sampled_from([1, 2]),
        dropout=st.sampled_from([0.0, 0.4, 1.0]),
        recurrent_dropout=st.sampled_from([0.0, 0.4, 1.0]),
        activation=st.sampled_from(SMOOTH),
        recurrent_activation=st.sampled_from(["sigmoid", *SMOOTH]),
        seed=st.integers(0, 99),
    )
)


@every_cell
@settings(max_examples=15, deadline=None, derandomize=True)
@given(options, st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 2**32 - 1))
def test_all_options(
    cell: str, options: Any, unroll: bool, masked: bool, given_state: bool, training: bool, seed: int
) -> None:
    """`unroll` is ours alone: under a mask Keras's unrolled loop starts from zeros and ignores zero_output_for_mask."""
    rng = np.random.default_rng(seed)
    with float64():
        ours, theirs = twins(rng, cell, ours={"unroll": unroll}, dtype="float64", **options)
        assert layer_route(ours) == ("engine", "jax, float64")
        x = rng.normal(size=(B, T, I))
        mask = rng.random((B, T)) < 0.6 if masked else None
        state = states(rng, cell) if given_state else None
        call = dict(mask=mask, training=training)
        assert_close64(gradients(ours, x, state, seed, **call), gradients(theirs, x, state, seed, **call))
        for _ in range(2):  # the second call goes on with the seed and, if stateful, with the state
            assert_close64(
                outputs(ours, x, initial_state=state, **call), outputs(theirs, x, initial_state=state, **call)
            )
        assert_close64(*([np.asarray(v) for v in layer.non_trainable_variables] for layer in (ours, theirs)))
        if ours.stateful:
            assert_close64(*([np.asarray(v) for v in layer.states] for layer in (ours, theirs)))


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if hasattr(keras.activations, name)])
@every_cell
def test_every_activation_of_keras_is_the_engines(cell: str, name: str) -> None:
    rng = np.random.default_rng(len(name))
    with float64():
        ours, theirs = twins(rng, cell, activation=name, recurrent_activation=name, return_state=True, dtype="float64")
        assert layer_route(ours).name == "engine"
        for layer in (ours, theirs):
            layer.set_weights([0.3 * w for w in layer.get_weights()])
        x = rng.normal(0, 0.5, (B, 2, I))  # as small and short as this, an exponential of exponentials stays finite
        found = outputs(ours, x)
        assert np.isfinite(found[0]).all()
        assert_close64(found, outputs(theirs, x))


@pytest.mark.parametrize("T", [1, 7, 1000])
@every_cell
def test_float32(cell: str, T: int) -> None:
    rng = np.random.default_rng(T)
    ours, theirs = twins(rng, cell, (2, T, 3), units=4, return_sequences=True, return_state=True)
    # A small recurrent kernel, so that the bound on the growth of errors stays finite over 1,000 steps.
    weights = [w * scale for w, scale in zip(ours.get_weights(), (0.2, 0.02, 0.2), strict=True)]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    x = rng.normal(size=(2, T, 3)).clip(-2, 2).astype(np.float32)
    tolerance = value_tolerance(ours, x)
    assert tolerance < 1e-3  # the bound must say something
    for a, b in zip(outputs(ours, x), outputs(theirs, x), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)
    # Each of the two is within a running bound of the oracle's gradient in float64, so they are within twice that.
    start = {f"{letter}0": np.zeros((2, 4), np.float32) for letter in CELLS[cell].states}
    call = Case(
        dict(zip(NAMES, weights, strict=True), x=x, **start),
        dict(mask=None, resets=None, backwards=False, activation="tanh", recurrent_activation="sigmoid"),
        cell,
    )
    draw = np.random.default_rng(T)  # as `gradients` draws them
    d_h, *d_states = (draw.normal(size=shape) for shape in ((2, T, 4), *[(2, 4)] * len(start)))
    bounds = gradient_errors(call, dict(d_h=d_h, d_states=d_states))
    pairs = zip(gradients(ours, x, None, T), gradients(theirs, x, None, T), strict=True)
    for name, (a, b) in zip(("x", *NAMES), pairs, strict=True):
        assert bounds[name].max() <= 1e-2 * np.abs(b).max(), name  # the bound must say something
        assert_within(a, b.astype(np.float64), 2 * bounds[name], name)


@every_cell
def test_long_sequences_in_float64(cell: str) -> None:
    rng = np.random.default_rng(8)
    with float64():
        ours, theirs = twins(rng, cell, (2, 1000, 2), return_sequences=True, dtype="float64")
        x = rng.normal(size=(2, 1000, 2))
        assert_close64(outputs(ours, x), outputs(theirs, x))
        assert_close64(gradients(ours, x, None, 8), gradients(theirs, x, None, 8))


@every_cell
def test_a_fit_step_gives_keras_weights(cell: str) -> None:
    rng = np.random.default_rng(9)
    with float64():
        options = dict(
            dtype="float64",
            seed=5,
            dropout=0.3,
            recurrent_dropout=0.2,
            kernel_regularizer="l2",
            recurrent_regularizer="l1",
            bias_regularizer="l2",
            activity_regularizer="l2",
            kernel_constraint="max_norm",
            recurrent_constraint="unit_norm",
            bias_constraint="non_neg",
        )
        pair = twins(rng, cell, **options)
        x, y = rng.normal(size=(6, T, I)), rng.normal(size=(6, H))
        losses, weights = [], []
        for layer in pair:
            inputs = keras.Input((T, I), dtype="float64")
            model = keras.Model(inputs, layer(inputs))
            model.compile(keras.optimizers.SGD(0.1), "mse")
            losses.append(model.fit(x, y, batch_size=3, epochs=2, shuffle=False, verbose=0).history["loss"])
            weights.append(model.get_weights())
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-10)
        assert losses[0][1] != losses[0][0]
        assert_close64(weights[0], weights[1])


@every_cell
def test_the_implicit_mask_is_used_as_keras_does(cell: str) -> None:
    """From an embedding, alone and with an initial state (then Keras's layer runs unmasked)."""
    rng = np.random.default_rng(10)
    ids = np.array([[1, 2, 0, 0], [3, 0, 4, 1], [2, 2, 2, 0]])
    with float64():
        embedding = keras.layers.Embedding(5, I, mask_zero=True, dtype="float64")
        ours, theirs = twins(rng, cell, return_sequences=True, dtype="float64")
        state = states(rng, cell)
        assert_close64(outputs(ours, embedding(ids)), outputs(theirs, embedding(ids)))
        given = outputs(ours, embedding(ids), initial_state=state)
        assert_close64(given, outputs(theirs, embedding(ids), initial_state=state))
        assert not np.array_equal(given[0][0, 1], given[0][0, 3])
        assert_close64(outputs(ours, embedding(ids), resets=np.zeros((B, T), bool)), outputs(ours, embedding(ids)))


@every_cell
def test_no_steps_and_no_rows(cell: str) -> None:
    rng = np.random.default_rng(11)
    more = dict(return_cell_sequences=True, return_gates=True)
    ours, _ = twins(rng, cell, ours=more, return_sequences=True, return_state=True)
    state = [v.astype(np.float32) for v in states(rng, cell)]
    G, n = len(CELLS[cell].gates), len(state)
    h, *rest = outputs(ours, np.zeros((B, 0, I), np.float32), initial_state=state)
    assert [v.shape for v in (h, *rest[n:])] == [*[(B, 0, H)] * n, (B, 0, G, H)]
    for v, w in zip(rest[:n], state, strict=True):
        np.testing.assert_array_equal(v, w)
    last = make(layers, cell, dropout=0.5, zero_output_for_mask=True)
    empty = np.zeros((B, 0, I), np.float32)
    np.testing.assert_array_equal(last(empty, initial_state=state, mask=np.ones((B, 0), bool), training=True), state[0])
    assert outputs(ours, np.zeros((0, T, I), np.float32))[-1].shape == (0, T, G, H)


@every_cell
def test_a_stateful_layer_resets_and_keeps_its_batch_size(cell: str) -> None:
    rng = np.random.default_rng(12)
    with float64():
        ours, theirs = twins(rng, cell, stateful=True, return_sequences=True, dtype="float64")
        x = rng.normal(size=(B, T, I))
        first = outputs(ours, x)
        assert_close64(first, outputs(theirs, x))
        again = outputs(ours, x)
        assert_close64(again, outputs(theirs, x))
        assert np.abs(again[0] - first[0]).max() > 1e-3
        ours.reset_state()
        assert_close64(outputs(ours, x), first)
        with pytest.raises(ShapeError, match="stateful and holds the state of 3 rows; sequences has 2"):
            ours.call(x[:2])


@every_cell
def test_bad_arguments_are_named(cell: str) -> None:
    layer = make(layers, cell)
    x = np.zeros((B, T, I), np.float32)
    layer.build(x.shape)
    wanted = r"h and c, of shape \(3, 3\) each" if cell == "lstm" else r"h, of shape \(3, 3\)"
    one = np.zeros((B, H), np.float32)
    for bad, came in (([one] * 3, r"3: \(3, 3\), \(3, 3\), \(3, 3\)"), ([one[:, 1:]], r"1: \(3, 2\)")):
        with pytest.raises(ShapeError, match=rf"initial_state must be {wanted}; got {came}"):
            layer.call(x, initial_state=bad)
    with pytest.raises(ShapeError, match=r"mask must be \(B,T\), here \(3, 4\), as the sequences; got \(3, 5\)"):
        layer.call(x, mask=np.ones((B, T + 1), bool))
    for features in (I - 1, I + 5):
        with pytest.raises(ShapeError, match=rf"{layer.name}: sequences must be .* I = 2 .*; got \(3, 4, {features}\)"):
            layer.call(np.zeros((B, T, features), np.float32))
    with pytest.raises(ShapeError, match=r"resets must be \(B,T\)"):
        layer.call(x, resets=np.ones((B, T, 1, 1), bool))


@every_cell
def test_the_same_global_seed_gives_the_same_weights_and_dropout_as_keras(cell: str) -> None:
    with float64():
        x = np.random.default_rng(13).normal(size=(B, T, I))
        found = []
        for names in (layers, keras.layers):
            keras.utils.set_random_seed(7)
            layer = make(names, cell, dropout=0.5, recurrent_dropout=0.5, dtype="float64")
            found.append([*outputs(layer, x, training=True), *layer.get_weights()])
        assert_close64(*found)
        assert np.abs(outputs(layer, x)[0] - found[1][0]).max() > 1e-3  # dropout did something


@every_cell
def test_the_config_holds_the_seed(cell: str) -> None:
    layer = make(layers, cell, dropout=0.5, seed=11)
    assert type(layer).from_config(layer.get_config()).cell.seed == 11
