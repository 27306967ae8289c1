"""Weights alone, in every kind of file, into models given as JSON, as a config, or built in code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from goldens import REAL, inputs_and_outputs, unpacked
from tolerances import assert_close64

import everystep
from everystep import load_model
from everystep.errors import FileError, GraphError, OptionError
from everystep.models import model_from_json

leaves = keras.tree.flatten


def assert_same_weights(one: Any, other: Any) -> None:
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("case", REAL)
@pytest.mark.parametrize("ending", ["weights_only.h5", "h5", "keras"])
def test_weights_into_a_model_given_as_json(case: str, ending: str, tmp_path: Path) -> None:
    model = model_from_json(unpacked(tmp_path, f"{case}.json").read_text())
    first = model.get_weights()
    model.load_weights(unpacked(tmp_path, f"{case}.{ending}"))
    assert any((one != other).any() for one, other in zip(first, model.get_weights(), strict=True))
    x, expected = inputs_and_outputs(tmp_path, case)
    assert_close64(leaves(model.predict(x)), expected)


@pytest.mark.parametrize("case", REAL)
def test_weights_into_a_model_given_as_keras_2s_config(case: str, tmp_path: Path) -> None:
    entry = json.loads(unpacked(tmp_path, f"{case}.json").read_text())
    kind = everystep.Sequential if entry["class_name"] == "Sequential" else everystep.Model
    model = kind.from_config(entry["config"])
    model.load_weights(unpacked(tmp_path, f"{case}.weights_only.h5"))
    assert_same_weights(model, load_model(unpacked(tmp_path, f"{case}.h5")))


def in_code(gru: int = 3) -> Any:
    k, wide = everystep.layers, dict(dtype="float64")
    return everystep.Sequential(
        [
            everystep.Input((5,), dtype="int32"),
            k.Embedding(6, 3, mask_zero=True, **wide),
            k.LSTM(2, return_sequences=True, recurrent_activation="hard_sigmoid_keras2", **wide),
            k.GRU(gru, reset_after=False, recurrent_activation="hard_sigmoid_keras2", **wide),
            k.Dense(2, activation="hard_sigmoid_keras2", **wide),
        ]
    )


def test_weights_into_a_model_built_in_code_whose_layers_have_other_names(tmp_path: Path) -> None:
    model = in_code()
    model.load_weights(unpacked(tmp_path, "stack.weights_only.h5"))
    x, expected = inputs_and_outputs(tmp_path, "stack")
    assert_close64(leaves(model.predict(x)), expected)


def test_weights_of_cudnns_layers_into_an_lstm_and_a_gru_in_code(tmp_path: Path) -> None:
    k, wide = everystep.layers, dict(dtype="float64")
    path = unpacked(tmp_path, "cudnn.h5")
    with h5py.File(path, "r+") as file:  # the whole model's, without the model
        for name in ("lstm", "both", "inner", "gru_2"):
            file.copy(file["model_weights"][name], file, name)
        file.attrs["layer_names"] = file["model_weights"].attrs["layer_names"]
        file.create_group("x")
        file["x"].attrs["weight_names"] = np.array([])
        del file["model_weights"], file.attrs["model_config"]
    x = everystep.Input((5, 3), dtype="float64")
    y, h, c = k.LSTM(2, return_sequences=True, return_state=True, **wide)(x)
    z = k.Bidirectional(k.GRU(3, return_sequences=True, **wide))(y)
    model = everystep.Model(x, [h, c, k.LSTM(2, **wide)(z), k.GRU(2, **wide)(z)])
    model.load_weights(path)
    values, expected = inputs_and_outputs(tmp_path, "cudnn")
    assert_close64(leaves(model.predict(values)), expected)


def test_by_name_takes_what_both_have(tmp_path: Path) -> None:
    k, wide = everystep.layers, dict(dtype="float64")
    path = unpacked(tmp_path, "stack.weights_only.h5")
    whole = load_model(unpacked(tmp_path, "stack.h5"))
    model = everystep.Sequential([everystep.Input((5, 3), dtype="float64"), k.LSTM(2, name="lstm_1", **wide)])
    model.add(k.Dense(4, name="own", **wide))
    stranger = everystep.Sequential([everystep.Input((3,)), k.Dense(4, name="stranger")])
    own = model.get_layer("own").get_weights()
    model.load_weights(path, by_name=True)
    assert_same_weights(model.get_layer("lstm_1"), whole.get_layer("lstm_1"))
    np.testing.assert_array_equal(model.get_layer("own").get_weights()[0], own[0])
    with pytest.raises(OptionError, match="in common: the model has stranger, the file embedding_1, lstm_1"):
        stranger.load_weights(path, by_name=True)
    whole.save(tmp_path / "new.keras")
    with pytest.raises(OptionError, match="by_name must be False"):
        model.load_weights(tmp_path / "new.keras", by_name=True)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("case", ["encoder_decoder", "shared_and_nested", "wrappers"])
def test_weights_that_we_write_and_keras_3_reads(case: str, tmp_path: Path) -> None:
    model = load_model(unpacked(tmp_path, f"{case}.h5"))
    for layer in model.flat_layers().values():  # the same functions in both
        if getattr(layer, "recurrent_activation", None) == "hard_sigmoid_keras2":
            layer.recurrent_activation = "sigmoid"
    model.save_weights(tmp_path / "new.weights.h5")
    theirs = keras.models.model_from_json(model.to_json())
    theirs.load_weights(tmp_path / "new.weights.h5")
    x, _ = inputs_and_outputs(tmp_path, case)
    assert_close64(leaves(theirs.predict(x, verbose=0)), leaves(model.predict(x)))
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    again = model_from_json(theirs.to_json())
    again.load_weights(tmp_path / "theirs.weights.h5")
    assert_same_weights(again, model)


def test_json_there_and_back() -> None:
    model = in_code()
    again = model_from_json(model.to_json())
    assert again.get_config() == model.get_config()
    with pytest.raises(OptionError, match="takes the text that to_json returns; got dict"):
        model_from_json(json.loads(model.to_json()))
    with pytest.raises(FileError, match="the JSON is not valid"):
        model_from_json("{")


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = unpacked(tmp_path, "stack.weights_only.h5")
    model = in_code(gru=4)
    before = model.get_weights()
    with pytest.raises(FileError, match=r"gru_1/.*kernel:0' must be of shape \(2, 12\); it is \(2, 9\)"):
        model.load_weights(path)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    shorter = everystep.Sequential(
        [everystep.Input((5, 3), dtype="float64"), everystep.layers.LSTM(2, dtype="float64")]
    )
    with pytest.raises(FileError, match=r"weights of 4 layers \(embedding_1, .*has 1 \(lstm"):
        shorter.load_weights(path)
    with pytest.raises(GraphError, match="has no weights yet, for load_weights"):
        everystep.Sequential([everystep.layers.LSTM(2)]).load_weights(path)


def test_what_save_weights_refuses(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"as a .weights.h5 file"):
        in_code().save_weights(tmp_path / "new.h5")
    with pytest.raises(GraphError, match="has no weights yet"):
        everystep.Sequential([everystep.layers.LSTM(2)]).save_weights(tmp_path / "new.weights.h5")
    assert list(tmp_path.iterdir()) == []
