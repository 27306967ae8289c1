"""Which layer runs where, why, and that both ways give the same numbers."""

from __future__ import annotations

from itertools import product
from typing import Any

import equations
import keras
import keras_twins
import numpy as np
import pytest
from keras_twins import (
    CLASSES,
    NOT_OF,
    B,
    H,
    I,
    T,
    every_cell,
    found_of,
    gradients,
    make,
    outputs,
    states,
    twins,
    weights_of,
)
from tolerances import assert_close64, value_tolerance
from wide_floats import float64

from everystep.cells import CELLS
from everystep.keras import layers, routes
from everystep.keras.loop import run as run_loop
from everystep.keras.route import layer_route

OURS = dict(return_cell_sequences=True, return_gates=True, trainable_initial_state=True)


def tanh(x: Any) -> Any:
    """Not Keras's function, though it says the same."""
    return keras.ops.tanh(x)


FLAGS = [
    *("return_sequences", "return_state", "go_backwards", "stateful", "unroll", "zero_output_for_mask", "use_bias"),
    *("unit_forget_bias", "return_cell_sequences", "return_gates", "trainable_initial_state"),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_cell
def test_the_engine_runs_every_combination(cell: str, dtype: str) -> None:
    rates = product((0.0, 0.3), (0.0, 0.3), (1, 2))
    names = [name for name in FLAGS if name not in NOT_OF[CLASSES[cell][0]]]
    for (dropout, recurrent_dropout, implementation), *flags in product(rates, *[(False, True)] * len(names)):
        if sum(flags) in (0, 1, 2, len(flags)):  # every pair of options, none and all
            options = dict(zip(names, flags, strict=True))
            layer = make(
                layers,
                cell,
                2,
                dtype=dtype,
                dropout=dropout,
                recurrent_dropout=recurrent_dropout,
                implementation=implementation,
                **options,
            )
            assert layer_route(layer) == ("engine", "jax, float32"), options
            with float64():
                assert layer_route(layer) == ("engine", f"jax, {dtype}"), options


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"activation": tanh}, "activation 'tanh' is not one that the engine has"),
        ({"recurrent_activation": "softmax"}, "recurrent_activation 'softmax' is not one that the engine has"),
        ({"dtype": "mixed_float16"}, "mixed precision: computes in float16, keeps weights in float32"),
        ({"dtype": "bfloat16"}, "dtype bfloat16; the engine has float32 and float64"),
    ],
)
@every_cell
def test_what_takes_the_loop(cell: str, options: dict[str, Any], reason: str) -> None:
    if cell != "simple" or "recurrent_activation" not in options:  # which it does not have
        assert layer_route(make(layers, cell, **options)) == ("loop", reason)


def test_routes_of_a_model() -> None:
    inputs = keras.Input((T, I))
    inner = keras.Sequential([keras.Input((T, I)), layers.LSTM(2, return_sequences=True, name="a")], name="encoder")
    shared = layers.LSTM(2, activation=tanh, name="b")
    wrapped = layers.Bidirectional(layers.LSTM(3, name="c"), name="both")
    stock = keras.layers.GRU(2, name="d")
    x = inner(inputs)
    model = keras.Model(inputs, [shared(inner(inputs)), shared(x), wrapped(x), stock(x)])
    found = routes(model)
    assert {path: route.name for path, route in found.items()} == {
        "encoder/a": "engine",
        "b": "loop",
        "both/forward_c": "engine",
        "both/backward_c": "engine",
        "d": "loop",
    }
    assert found["d"].reason == "Keras's own GRU; everystep.keras.with_engine(model) replaces it"
    assert "encoder/a        engine  jax, float32" in str(found).splitlines()
    assert routes(shared) == {"b": ("loop", "activation 'tanh' is not one that the engine has")}


def test_convolutions_are_keras_own() -> None:
    assert layers.ConvLSTM1D is keras.layers.ConvLSTM1D
    assert routes(layers.ConvLSTM1D(2, 3, name="c")) == {
        "c": ("loop", "Keras's own ConvLSTM1D; the engine has no convolutional cell")
    }


@pytest.mark.parametrize("additions", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@every_cell
def test_both_routes_give_the_same_numbers(cell: str, additions: bool, masked: bool) -> None:
    rng = np.random.default_rng([additions, masked])
    with float64():
        options = dict(dtype="float64", dropout=0.3, recurrent_dropout=0.3, seed=2, go_backwards=True)
        ours = OURS if additions else {}
        engine, _ = twins(rng, cell, ours=ours, **options, return_sequences=True, zero_output_for_mask=True)
        options |= dict(return_sequences=True, zero_output_for_mask=True, activation=tanh)
        loop, _ = twins(rng, cell, ours=ours, **options)
        loop.set_weights(engine.get_weights())
        assert (layer_route(engine).name, layer_route(loop).name) == ("engine", "loop")
        x = rng.normal(size=(B, T, I))
        call: dict[str, Any] = dict(training=True)
        if masked:
            call["mask"] = rng.random((B, T)) < 0.6
        if additions:
            call["resets"] = rng.random((B, T)) < 0.4
        assert_close64(gradients(engine, x, None, 1, **call), gradients(loop, x, None, 1, **call))
        assert_close64(outputs(engine, x, **call), outputs(loop, x, **call))


@every_cell
def test_the_loop_against_the_oracle(cell: str) -> None:
    rng = np.random.default_rng(7)
    with float64():
        layer, _ = twins(rng, cell, dtype="float64")
        weights, G = weights_of(layer), len(CELLS[cell].gates)
        x, start, reset_states = rng.normal(size=(B, T, I)), states(rng, cell), states(rng, cell)
        options = dict(
            mask=rng.random((B, T)) < 0.6,
            resets=rng.random((B, T)) < 0.4,
            reset_states=reset_states,
            dropout=rng.random((G, B, I)),
            recurrent_dropout=rng.random((G, B, H)),
            backwards=True,
        )
        oracle = equations.run(cell, x, start, weights, **options)
        found = run_loop(cell, x, start, *weights.values(), cells=oracle.c is not None, gates=True, **options)
        c = [] if found.cells is None else [found.cells]
        assert_close64([np.asarray(v) for v in (found.h, *found.states, *c, found.gates)], found_of(oracle))
        last = run_loop(cell, x, start, *weights.values(), sequences=False, **options)
        assert_close64([np.asarray(last.h)], [oracle.h[:, -1]])
        assert last.cells is None
        assert last.gates is None


@every_cell
def test_mixed_precision_computes_in_half_and_returns_half(cell: str) -> None:
    rng = np.random.default_rng(8)
    half, full = make(layers, cell, dtype="mixed_float16", **OURS), make(layers, cell, **OURS)
    x = rng.normal(size=(B, T, I)).astype(np.float32)
    for layer in (half, full):
        layer.build(x.shape)
    keras_twins.random_weights(full, rng)
    half.set_weights([0.05 * w for w in full.get_weights()])
    full.set_weights(half.get_weights())
    tolerance = value_tolerance(full, x) * float(np.finfo(np.float16).eps) / float(np.finfo(np.float32).eps)
    assert tolerance < 0.5
    for a, b in zip(outputs(half, x), outputs(full, x), strict=True):
        assert a.dtype == np.float16
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)
