"""with_engine and without_engine: the same model, numbers and training state, with the other layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_twins import NOT_OF, I, T, every_cell, make
from tolerances import assert_close64
from wide_floats import float64

from everystep.errors import OptionError, UnsupportedError
from everystep.keras import layers, routes, with_engine, without_engine
from everystep.keras.convert import model_from_config
from everystep.keras.route import hard_sigmoid_keras2


class Scale(keras.layers.Layer):
    """A custom layer that no registry knows."""

    def __init__(self, factor: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: Any) -> Any:
        return self.factor * x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


def cubed_error(y: Any, predicted: Any) -> Any:
    return keras.ops.mean(keras.ops.abs(y - predicted) ** 3, axis=-1)


def ramp(x: Any) -> Any:
    return 0.5 * x


def compiled_model(names: Any, cell: str) -> keras.Model:
    """Nested, shared and wrapped layers, custom objects, dropout with seeds; a layer shared by two models."""
    bidirectional, distributed = names.Bidirectional, names.TimeDistributed

    def rnn(units: int, **options: Any) -> Any:
        return make(names, cell, units, **options)

    inputs = keras.Input((T, I), name="x")
    shared = rnn(3, return_sequences=True, dropout=0.2, seed=1, implementation=1, use_cudnn=False, name="shared")
    encoder_in = keras.Input((T, I))
    encoder = keras.Model(encoder_in, shared(rnn(I, return_sequences=True, name="first")(encoder_in)), name="encoder")
    x = keras.layers.Concatenate()([encoder(inputs), shared(inputs)])
    x = bidirectional(rnn(2, return_sequences=True, recurrent_dropout=0.3, seed=2, name="both"), name="wrap")(x)
    frames = keras.layers.Reshape((T, 2, 2))(x)
    x = distributed(rnn(2, activation=ramp, name="each"), name="frames")(frames)
    x = keras.layers.Dropout(0.2, seed=3)(Scale(1.5)(x))
    stack = keras.Sequential([keras.Input((T, 2)), rnn(3, name="last"), keras.layers.Dense(1)], name="stack")
    stack.get_layer("last").trainable = False
    model = keras.Model(inputs, stack(x))
    model.compile(keras.optimizers.Adam(0.01), cubed_error, metrics=["mae"])
    return model


def fit(model: keras.Model, x: np.ndarray, y: np.ndarray) -> dict[str, list[float]]:
    return model.fit(x, y, batch_size=3, epochs=2, shuffle=False, verbose=0).history


def ours_or_stock(model: keras.Model) -> set[bool]:
    """Whether its recurrent layers and what wraps one are ours."""
    kinds = (keras.layers.RNN, keras.layers.Bidirectional, keras.layers.TimeDistributed)
    return {type(v).__module__.startswith("everystep") for v in model._flatten_layers() if isinstance(v, kinds)}


@pytest.mark.parametrize("to_engine", [True, False])
@every_cell
def test_a_converted_model_goes_on_training_with_the_same_numbers(cell: str, to_engine: bool) -> None:
    rng = np.random.default_rng(to_engine)
    with float64():
        keras.config.set_dtype_policy("float64")
        try:
            names = keras.layers if to_engine else layers
            model = compiled_model(names, cell)
            x, y = rng.normal(size=(6, T, I)), rng.normal(size=(6, 1))
            fit(model, x, y)  # the optimizer and the seeds have a past
            before = [np.array(v) for v in (*model.variables, *model.optimizer.variables)]
            converted = (with_engine if to_engine else without_engine)(model)
            for old, new in zip(before, (*model.variables, *model.optimizer.variables), strict=True):
                np.testing.assert_array_equal(old, new)
            assert ours_or_stock(model) == {not to_engine}
            assert ours_or_stock(converted) == {to_engine}
            assert converted.get_layer("shared") is converted.get_layer("encoder").get_layer("shared")
            assert cell == "simple" or converted.get_layer("shared").cell.implementation == 1
            assert not converted.get_layer("stack").get_layer("last").trainable
            assert converted.get_layer("frames").layer.activation is ramp
            assert converted.loss is cubed_error
            histories = fit(model, x, y), fit(converted, x, y)
            assert histories[0].keys() == histories[1].keys() == {"loss", "mae"}
            for name in histories[0]:
                np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-10)
            assert_close64(model.get_weights(), converted.get_weights())
            if not to_engine:
                assert "everystep" not in str(keras.saving.serialize_keras_object(converted))
        finally:
            keras.config.set_dtype_policy("float32")


@every_cell
def test_the_state_of_a_stateful_layer_goes_along(cell: str) -> None:
    rng = np.random.default_rng(3)
    inputs = keras.Input((T, I), batch_size=2)
    model = keras.Model(inputs, make(keras.layers, cell, stateful=True, name="s")(inputs))
    model(rng.normal(size=(2, T, I)).astype(np.float32))
    converted = with_engine(model)
    for old, new in zip(model.get_layer("s").states, converted.get_layer("s").states, strict=True):
        assert np.abs(np.array(old)).min() > 0
        np.testing.assert_array_equal(np.array(old), np.array(new))
    assert not converted.compiled


def two_layers() -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """Two LSTMs of equal shapes, "a" and "b", so that nothing but the name tells their moments apart."""
    rng = np.random.default_rng(5)
    inputs = keras.Input((T, 3))
    hidden = keras.layers.LSTM(3, return_sequences=True, name="a")(inputs)
    model = keras.Model(inputs, keras.layers.LSTM(3, name="b")(hidden))
    return model, rng.normal(size=(6, T, 3)).astype(np.float32), rng.normal(size=(6, 3)).astype(np.float32)


def assert_same_optimizer(old: keras.Model, new: keras.Model) -> None:
    assert type(old.optimizer) is type(new.optimizer)
    assert old.optimizer.get_config() == new.optimizer.get_config()
    for a, b in zip(old.optimizer.variables, new.optimizer.variables, strict=True):
        assert a.name == b.name
        np.testing.assert_array_equal(np.array(a), np.array(b))


@pytest.mark.parametrize("optimizer", ["Adam", "RMSprop", "SGD"])
@pytest.mark.parametrize("frozen", ["a", "b"])
@pytest.mark.parametrize("when", ["while it trains", "after it trained"])
def test_moments_stay_with_their_variables(optimizer: str, frozen: str, when: str) -> None:
    model, x, y = two_layers()
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    model.get_layer(frozen).trainable = when == "after it trained"
    model.compile(getattr(keras.optimizers, optimizer)(0.01, **options), "mse")
    fit(model, x, y)
    model.get_layer(frozen).trainable = when == "while it trains"
    converted = with_engine(model)
    assert_same_optimizer(model, converted)
    built_on = [[v.path for v in (m.optimizer._trainable_variables)] for m in (model, converted)]
    assert built_on[0] == built_on[1]
    # With its layer as it was when it trained, either model goes on, and alike.
    for m in (model, converted):
        m.get_layer(frozen).trainable = when == "after it trained"
    losses = [fit(m, x, y)["loss"] for m in (model, converted)]
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_moments_of_other_variables_are_refused() -> None:
    model, _, _ = two_layers()
    model.compile("adam", "mse")
    model.optimizer.build([keras.Variable(np.zeros(3), name="other")])
    with pytest.raises(UnsupportedError, match="built on variables that are not the model's"):
        with_engine(model)


def test_saved_as_h5_a_model_keeps_its_optimizer(tmp_path: Path) -> None:
    model, x, y = two_layers()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.5), "mse")
    fit(model, x, y)
    model.save(tmp_path / "m.h5")  # takes the optimizer out of what Keras's clones are compiled with
    converted = with_engine(model)
    assert_same_optimizer(model, converted)
    converted.save(tmp_path / "m.keras")
    assert_same_optimizer(model, keras.models.load_model(tmp_path / "m.keras"))


def test_a_nested_model_keeps_its_own_optimizer() -> None:
    inner, x, y = two_layers()
    inner.compile(keras.optimizers.SGD(0.1, momentum=0.5), "mse")
    fit(inner, x, y)
    inputs = keras.Input((T, 3))
    converted = with_engine(keras.Model(inputs, inner(inputs)))
    assert_same_optimizer(inner, converted.get_layer(inner.name))


def test_lambdas_go_along_with_the_globals_they_use() -> None:
    model, x, y = two_layers()
    outputs = keras.layers.Lambda(lambda h: keras.ops.tanh(h))(model.output)
    model = keras.Model(model.input, outputs)
    metric = keras.metrics.MeanMetricWrapper(lambda a, b: keras.ops.max(a - b), name="wrapped")
    model.compile("adam", lambda a, b: keras.ops.mean((a - b) ** 2), metrics=[lambda a, b: keras.ops.mean(b), metric])
    fit(model, x, y)
    converted = with_engine(model)
    assert converted.loss is model.loss
    assert converted.layers[-1].function is model.layers[-1].function
    assert model.loss.__name__ == "<lambda>"
    histories = fit(model, x, y), fit(converted, x, y)
    assert histories[0].keys() == histories[1].keys()
    for name in histories[0]:
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-5)


@pytest.mark.parametrize("option", ["return_cell_sequences", "return_gates", "trainable_initial_state", "resets"])
@pytest.mark.parametrize("name", ["LSTM", "GRU", "SimpleRNN", "Bidirectional"])
def test_without_engine_refuses_what_keras_does_not_have(name: str, option: str) -> None:
    if option in NOT_OF.get(name, ()):
        return
    inputs, resets = keras.Input((T, I)), keras.Input((T,), dtype="bool")
    given = {} if option == "resets" else {option: True}
    if name == "Bidirectional":
        layer = layers.Bidirectional(layers.LSTM(3, **given), name="mine")
    else:
        layer = getattr(layers, name)(3, name="mine", **given)
    outputs = layer(inputs, resets=resets) if option == "resets" else layer(inputs)
    model = keras.Model([inputs, resets], outputs)
    where, kind = ("mine", name)
    if name == "Bidirectional" and option == "trainable_initial_state":
        where, kind = "(forward|backward)_lstm.*", "LSTM"
    with pytest.raises(UnsupportedError, match=f"layer '{where}' uses {option}, which Keras's {kind} does not have"):
        without_engine(model)


class NoConfig(keras.Model):
    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def call(self, x: Any) -> Any:
        return self.inner[0](x)


class OwnCode(keras.Model):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.recurrent = keras.layers.GRU(2, name="inside")

    def call(self, x: Any) -> Any:
        return self.recurrent(x)


def test_models_that_cannot_be_converted_say_why() -> None:
    x = np.zeros((2, T, I), np.float32)
    for model, message in (
        (NoConfig([keras.layers.LSTM(2)]), r"\(NoConfig\) cannot be rebuilt from its config"),
        (OwnCode(), r"layer 'inside' is made by the code of a custom class.*use everystep\.keras\.layers\.GRU in that"),
    ):
        model(x)
        with pytest.raises(UnsupportedError, match=message):
            with_engine(model)
    with pytest.raises(OptionError, match="expected a Keras model; got LSTM"):
        with_engine(keras.layers.LSTM(2))


def test_a_model_of_a_config_and_weights() -> None:
    rng = np.random.default_rng(4)
    inputs, resets = keras.Input((T, I)), keras.Input((T,), dtype="bool")
    layer = layers.LSTM(3, return_gates=True, activation=hard_sigmoid_keras2, name="rec")
    model = keras.Model([inputs, resets], layer(keras.layers.Masking()(inputs), resets=resets))
    weights = [rng.normal(size=w.shape) for w in model.get_weights()]
    config = keras.saving.serialize_keras_object(model)
    (entry,) = (e for e in config["config"]["layers"] if e["class_name"] == "LSTM")
    entry["config"]["activation"] = "hard_sigmoid_keras2"  # a name is enough
    made = model_from_config(config, weights)
    model.set_weights(weights)
    x = rng.normal(size=(2, T, I)).astype(np.float32)
    x[0, 1] = 0  # masked
    given = x, rng.random((2, T)) < 0.5
    found = made.predict(given, verbose=0), model.predict(given, verbose=0)
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(found[0][1][0, 1], 0)  # the gates of the masked step
    assert routes(made) == {"rec": ("engine", "jax, float32")}
    candidate = found[0][1][1, 0, 2]
    z = (x[1, 0] @ weights[0] + weights[2])[6:9]
    np.testing.assert_allclose(candidate, np.clip(0.2 * z + 0.5, 0, 1), rtol=0, atol=8 * np.finfo(np.float32).eps)
