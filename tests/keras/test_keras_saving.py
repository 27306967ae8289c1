"""Saved and loaded: our models, stock models into our layers, and ours back to stock."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras_twins import I, T, every_cell, make

from everystep.keras import layers, models, routes, saving, without_engine


def trained(names: object, cell: str = "lstm", **options: object) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(6, T, I)).astype(np.float32), rng.normal(size=(6, 1)).astype(np.float32)
    inputs = keras.Input((T, I))
    hidden = keras.tree.flatten(make(names, cell, name="rec", **options)(inputs))
    hidden = [keras.layers.Flatten()(h) for h in hidden]
    model = keras.Model(
        inputs, keras.layers.Dense(1)(hidden[0] if len(hidden) == 1 else keras.layers.Concatenate()(hidden))
    )
    model.compile(keras.optimizers.Adam(0.05), keras.losses.MeanSquaredError())
    model.fit(x, y, batch_size=3, shuffle=False, verbose=0)
    return model, x, y


@pytest.mark.parametrize("compile", [True, False])
@every_cell
def test_our_model_loads_as_it_was(tmp_path: Path, cell: str, compile: bool) -> None:
    options = dict(return_cell_sequences=True, return_gates=True, trainable_initial_state=True)
    model, x, y = trained(layers, cell, **options)
    h0 = model.get_layer("rec").get_weights()[3]
    assert np.abs(h0).min() > 0  # trained
    model.save(tmp_path / "m.keras")
    loaded = models.load_model(tmp_path / "m.keras", compile=compile)
    assert type(loaded.get_layer("rec")) is type(model.get_layer("rec"))
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(model.predict(x, verbose=0), loaded.predict(x, verbose=0))
    assert loaded.compiled is compile
    if compile:
        losses = [m.fit(x, y, batch_size=3, shuffle=False, verbose=0).history["loss"] for m in (model, loaded)]
        assert losses[0] == losses[1]


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@every_cell
def test_a_stock_file_gives_our_layers(tmp_path: Path, cell: str, suffix: str) -> None:
    model, x, _ = trained(keras.layers, cell)
    model.save(tmp_path / f"m.{suffix}")
    loaded = models.load_model(tmp_path / f"m.{suffix}")
    assert [route.name for route in routes(loaded).values()] == ["engine"]
    assert loaded.compiled
    # One rounding apart: the same bound as between any two orders of summation, for a Dense of 3 on top of h.
    np.testing.assert_allclose(model.predict(x, verbose=0), loaded.predict(x, verbose=0), rtol=0, atol=1e-5)


def test_every_way_to_load_gives_our_layers(tmp_path: Path) -> None:
    stock, _, _ = trained(keras.layers)
    stock.save(tmp_path / "m.keras")
    for loaded in (
        models.load_model(tmp_path / "m.keras"),
        saving.load_model(tmp_path / "m.keras"),
        models.model_from_json(stock.to_json()),
    ):
        assert type(loaded.get_layer("rec")) is layers.LSTM
    assert type(keras.saving.load_model(tmp_path / "m.keras").get_layer("rec")) is keras.layers.LSTM


def test_a_lambda_loads_when_keras_is_told_to_trust_it(tmp_path: Path) -> None:
    model, x, y = trained(keras.layers)
    model.compile("adam", lambda a, b: (a - b) ** 2)
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="lambda"):
        models.load_model(tmp_path / "m.keras")
    loaded = models.load_model(tmp_path / "m.keras", safe_mode=False)
    # Rounding of h, of the size of the routes' difference, in a loss of the order of 1.
    np.testing.assert_allclose(loaded.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), rtol=1e-5)


def test_without_engine_a_file_knows_nothing_of_everystep(tmp_path: Path) -> None:
    model = models.Sequential([keras.Input((T, I)), layers.Bidirectional(layers.LSTM(3)), layers.Dense(1)])
    without_engine(model).save(tmp_path / "m.keras")
    custom = dict(keras.saving.get_custom_objects())
    keras.saving.get_custom_objects().clear()
    try:
        loaded = keras.models.load_model(tmp_path / "m.keras")
    finally:
        keras.saving.get_custom_objects().update(custom)
    assert type(loaded) is keras.Sequential
    assert type(loaded.layers[0]) is keras.layers.Bidirectional
    assert type(loaded.layers[0].backward_layer) is keras.layers.LSTM
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
