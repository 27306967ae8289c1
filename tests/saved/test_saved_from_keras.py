"""Live Keras models moved to NumPy and back: structure, weights, numbers; and what is refused, by its path."""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np
import pytest
from tolerances import assert_close64
from topologies import TOPOLOGIES, H, I, Names, T, data, fed, nested, random_weights

import everystep
import everystep.keras
from everystep import from_keras
from everystep.errors import OptionError, UnsupportedError
from everystep.keras.route import hard_sigmoid_keras2, routes

leaves = keras.tree.flatten


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda f: f.__name__)
def test_there_and_back(topology: Any) -> None:
    rng = np.random.default_rng(3)
    theirs = topology(Names(keras))
    random_weights(theirs, rng)
    ours = from_keras(theirs)
    assert type(ours) is (everystep.Sequential if isinstance(theirs, keras.Sequential) else everystep.Model)
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]
    back = ours.to_keras()
    assert {name for name, _ in routes(back).values()} == {"engine"}
    for a, b, c in zip(ours.get_weights(), theirs.get_weights(), back.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    x = fed(ours, data(ours, rng))
    expected, found = theirs.predict(x, verbose=0), ours.predict(x)
    keras.tree.assert_same_structure(found, expected)
    assert_close64(leaves(found), leaves(expected))
    assert_close64(leaves(back.predict(x, verbose=0)), leaves(expected))
    again = from_keras(back)
    for a, b in zip(leaves(again.predict(x)), leaves(found), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("wide")
def test_a_layer_that_two_models_share_stays_one() -> None:
    rng = np.random.default_rng(4)
    k = Names(keras)
    shared = k.LSTM(H, return_sequences=True, name="shared")
    p = k.Input((T, H), name="p")
    inner = k.Model(p, k.Dense(H)(shared(p)), name="inner")
    x = k.Input((T, H), name="x")
    theirs = k.Model(x, shared(inner(shared(x))))
    random_weights(theirs, rng)
    ours = from_keras(theirs)
    assert ours.get_layer("shared") is ours.get_layer("inner").get_layer("shared")
    assert len(ours.get_weights()) == len(theirs.get_weights()) == 5
    x = data(ours, rng)
    assert_close64([ours.predict(x)], [theirs.predict(x, verbose=0)])
    with pytest.raises(UnsupportedError, match="'inner/shared' is also 'shared'; Keras would make two layers"):
        ours.to_keras()


@pytest.mark.usefixtures("wide")
def test_the_additions_of_the_family_come_over() -> None:
    """Of GRU, SimpleRNN, both directions and a stack, made under everystep.keras, and back."""
    rng = np.random.default_rng(8)
    k = Names(everystep.keras)
    x, resets = k.Input((T, I), name="x"), k.Input((T,), dtype="bool", name="resets")
    seen = k.Masking()(x)
    more = dict(return_sequences=True, return_state=True, return_gates=True)
    outputs = [
        *k.GRU(H, trainable_initial_state=True, **more)(seen, resets=resets),
        *k.SimpleRNN(H, trainable_initial_state=True, go_backwards=True, **more)(seen),
        *k.Bidirectional(k.LSTM(H, return_cell_sequences=True, **more))(seen, resets=resets),
        *k.Bidirectional(k.GRU(H, trainable_initial_state=True, **more), merge_mode=None)(seen),
        *leaves(k.RNN([k.LSTMCell(H), k.GRUCell(2)], return_cell_sequences=True, **more)(seen, resets=resets)),
    ]
    theirs = k.Model([x, resets], outputs)
    random_weights(theirs, rng)
    ours = from_keras(theirs)
    values = data(ours, rng)
    expected, found = theirs.predict(values, verbose=0), ours.predict(values)
    assert_close64(found, expected)
    back = ours.to_keras()
    for a, b in zip(back.predict(values, verbose=0), expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("wide")
def test_the_additions_of_our_keras_layer_come_over() -> None:
    rng = np.random.default_rng(5)
    k = Names(keras, lstm=everystep.keras.layers.LSTM)
    x, resets = k.Input((T, I), name="x"), k.Input((T,), dtype="bool", name="resets")
    layer = k.LSTM(
        H,
        return_state=True,
        return_cell_sequences=True,
        return_gates=True,
        trainable_initial_state=True,
        go_backwards=True,
        activation=hard_sigmoid_keras2,
    )
    outputs = layer(k.Masking()(x), resets=resets)
    theirs = k.Model([x, resets], [*outputs, k.LSTM(2)(outputs[3])])
    random_weights(theirs, rng)
    ours = from_keras(theirs)
    assert ours.layers[-2].activation == "hard_sigmoid_keras2"
    values = data(ours, rng)
    found = ours.predict(values)
    assert_close64(found, theirs.predict(values, verbose=0))
    back = ours.to_keras()
    for a, b in zip(back.predict(values, verbose=0), theirs.predict(values, verbose=0), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_stateful_model_comes_over_and_starts_afresh() -> None:
    k = Names(keras, "float32")
    x = k.Input((T, I), batch_size=2)
    theirs = k.Model(x, k.LSTM(H, stateful=True)(x))
    ours = from_keras(theirs)
    values = np.random.default_rng(6).normal(size=(2, T, I)).astype(np.float32)
    first, second = np.asarray(theirs(values)), np.asarray(theirs(values))  # Keras's predict on JAX carries no state
    for _ in range(2):
        np.testing.assert_allclose(ours.predict(values), first, atol=1e-5)
    assert np.abs(second - first).max() > 1e-3
    assert len(ours.predict(values[:1])) == 1  # any number of rows
    assert ours.to_keras().layers[1].stateful


def test_the_sequential_of_our_namespace_comes_over() -> None:
    k = Names(keras, "float32", lstm=everystep.keras.layers.LSTM)
    theirs = everystep.keras.Sequential([k.Input((T, I)), k.LSTM(H), k.Dense(2)])
    ours = from_keras(theirs)
    assert type(ours) is everystep.Sequential
    x = np.random.default_rng(7).normal(size=(2, T, I)).astype(np.float32)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x, verbose=0), atol=1e-5)


def test_what_only_training_reads_is_kept() -> None:
    x = keras.Input((T, I))
    layer = keras.layers.LSTM(
        H,
        kernel_regularizer="l2",
        activity_regularizer=keras.regularizers.L1(0.1),
        recurrent_constraint="max_norm",
        dropout=0.3,
        recurrent_dropout=0.2,
        seed=5,
        unroll=True,
        trainable=False,
        kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_avg"),
    )
    dense = keras.layers.Dense(2, bias_constraint="non_neg", activity_regularizer="l1")
    drop = keras.layers.Dropout(0.4, noise_shape=(None, 1), seed=3)
    model = keras.Model(x, dense(drop(layer(x))))
    back = from_keras(model).to_keras()
    for old, new in zip(model.layers, back.layers, strict=True):
        for key, value in old.get_config().items():
            assert new.get_config()[key] == value, (old.name, key)
    assert not back.layers[1].trainable


def test_float32_weights_come_over_to_the_bit_and_the_original_is_left_alone() -> None:
    k = Names(keras, "float32")
    x = k.Input((T, I))
    model = k.Model(x, k.LSTM(H, return_sequences=True)(x))
    before = model.get_weights()
    ours = from_keras(model)
    ours.set_weights([w + 1 for w in ours.get_weights()])
    for a, b, c in zip(before, model.get_weights(), ours.get_weights(), strict=True):
        assert a.dtype == c.dtype == np.float32
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a + 1, c)


@keras.saving.register_keras_serializable("tests")
def ramp(x: Any) -> Any:
    return x


def relu(x: Any) -> Any:
    return x


@keras.saving.register_keras_serializable("tests")
class Own(keras.layers.GRUCell):
    """A cell of the user's."""


def refused(name: str) -> Any:
    x = keras.Input((T, I), name="x")
    if name == "namesake":
        return keras.Model(x, keras.layers.LSTM(2, activation=relu, name="rec")(x))
    if name == "layer":
        return keras.Model(x, keras.layers.Conv1DTranspose(2, 2, name="conv")(x))
    if name == "nested":
        p = keras.Input((T, I))
        inner = keras.Model(p, keras.layers.Conv1DTranspose(2, 2, name="conv")(p), name="encoder")
        return keras.Model(x, inner(x))
    if name == "wrapped":
        four, conv = keras.Input((2, T, I)), keras.layers.Conv1DTranspose(2, 2, name="conv")
        return keras.Model(four, keras.layers.TimeDistributed(conv, name="each")(four))
    if name == "cell":
        return keras.Model(x, keras.layers.RNN(Own(2, name="mine"), name="rnn")(x))
    if name == "cell's function":
        return keras.Model(x, keras.layers.RNN(keras.layers.GRUCell(2, activation=ramp, name="rec"), name="rnn")(x))
    if name == "direction's function":
        gru = keras.layers.GRU(2, recurrent_activation=ramp, name="gru")
        return keras.Model(x, keras.layers.Bidirectional(gru, name="both")(x))
    if name == "convolutions":
        film = keras.Input((T, 5, 5, 1))
        return keras.Model(film, keras.layers.ConvLSTM2D(2, 2, name="film")(film))
    if name == "function":
        return keras.Model(x, keras.layers.LSTM(2, activation=ramp, name="rec")(x))
    if name == "activation":
        return keras.Model(x, keras.layers.LSTM(2, activation="sparsemax", name="rec")(x))
    if name == "dtype":
        return keras.Model(x, keras.layers.LSTM(2, dtype="mixed_bfloat16", name="rec")(x))
    if name == "operation":
        return keras.Model(x, keras.ops.arccosh(x))
    return keras.Model(x, keras.layers.Dense(2, lora_rank=1, name="head")(x))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("layer", r"layer 'conv' is a Conv1DTranspose \(keras.layers\), which is not supported; supported are "),
        ("nested", r"layer 'encoder/conv' is a Conv1DTranspose"),
        ("wrapped", r"layer 'each/conv' is a Conv1DTranspose"),
        ("cell", r"layer 'rnn/mine' is an Own \(.*\), which is not supported; supported are .* GRUCell"),
        ("cell's function", r"layer 'rnn/rec': activation 'ramp' is a function of"),
        ("direction's function", r"layer 'both/forward_gru': recurrent_activation 'ramp' is a function of"),
        ("convolutions", r"layer 'film' is a ConvLSTM2D, whose gates are convolutions; .* Run that model with Keras"),
        ("function", r"layer 'rec': activation 'ramp' is a function of .*; everystep has those that Keras names"),
        ("namesake", r"layer 'rec': activation 'relu' is a function of"),
        ("activation", r"layer 'rec': activation 'sparsemax' is not one of"),
        ("dtype", r"layer 'rec': dtype 'mixed_bfloat16' is not one of float32, float64"),
        ("operation", r"operation 'arccosh\w*' is an Arccosh \(keras.*, which is not supported between layers"),
        ("lora", r"layer 'head': lora_rank, lora_alpha is not supported"),
    ],
)
def test_what_is_not_supported_is_refused_by_its_path(name: str, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        from_keras(refused(name))


def test_only_keras_models_that_have_weights_come_over() -> None:
    with pytest.raises(OptionError, match="takes a live Keras model; got ndarray"):
        from_keras(np.zeros(3))
    with pytest.raises(OptionError, match="has no weights yet"):
        from_keras(keras.Sequential([keras.layers.LSTM(2)]))
    with pytest.raises(OptionError, match="is an everystep model already"):
        from_keras(nested(Names(everystep)))

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner = keras.layers.LSTM(2)

        def call(self, x: Any) -> Any:
            return self.inner(x)

    model = Own()
    model(np.zeros((1, T, I), np.float32))
    with pytest.raises(UnsupportedError, match=r"is an Own .*supported are functional models and Sequential"):
        from_keras(model)


def test_nothing_that_a_config_names_is_imported() -> None:
    config = nested(Names(everystep)).get_config()
    config["layers"][1]["module"] = "antigravity"
    with pytest.raises(UnsupportedError, match="antigravity"):
        everystep.Model.from_config(config)
    assert "antigravity" not in sys.modules


def test_constants_in_a_graph_come_over() -> None:
    i, x = keras.Input((3,)), np.array([[-1, 0.5, 2]], np.float32)
    constant = np.array([0, 1, 1], np.float32)
    for held in (constant, keras.ops.array(constant)):
        model = from_keras(keras.Model(i, keras.ops.greater(i, held)))
        np.testing.assert_array_equal(model.predict(x), x > constant)


def test_a_class_that_shares_a_name_with_keras_is_told_from_it() -> None:
    own = type("LSTM", (keras.layers.LSTM,), {})
    with pytest.raises(UnsupportedError, match="layer 'mine' is of a class named LSTM that is not Keras's own, from"):
        from_keras(keras.Sequential([keras.Input((3, 2)), own(2, name="mine")]))
