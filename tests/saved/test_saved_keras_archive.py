""".keras files between stock Keras and ours, both ways: weights to the bit, numbers, what is shared; older paths."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from tolerances import assert_close64
from topologies import TOPOLOGIES, H, I, Names, T, data, fed, random_weights

import everystep
import everystep.keras
from everystep import from_keras, load_model
from everystep.errors import FileError, GraphError, OptionError, UnsupportedError
from everystep.keras.route import hard_sigmoid_keras2

leaves = keras.tree.flatten


def assert_same_weights(ours: Any, theirs: Any) -> None:
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def check_both_ways(theirs: Any, folder: Path, rng: np.random.Generator) -> Any:
    """Saved by Keras and read by us, saved by us and read by Keras and by us. Returns our model."""
    random_weights(theirs, rng)
    theirs.save(folder / "theirs.keras")
    ours = load_model(folder / "theirs.keras")
    ours.save(folder / "ours.keras")
    again, back = load_model(folder / "ours.keras"), keras.models.load_model(folder / "ours.keras")
    copied = from_keras(theirs)
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]
    assert_same_weights(ours, copied)
    assert_same_weights(again, copied)
    assert_same_weights(back, theirs)
    x = fed(ours, data(ours, rng))
    expected = theirs.predict(x, verbose=0)
    keras.tree.assert_same_structure(ours.predict(x), back.predict(x, verbose=0))  # a file makes lists of tuples
    assert_close64(leaves(ours.predict(x)), leaves(expected))
    assert_close64(leaves(back.predict(x, verbose=0)), leaves(expected))
    for a, b in zip(leaves(again.predict(x)), leaves(ours.predict(x)), strict=True):
        np.testing.assert_array_equal(a, b)
    return ours


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda f: f.__name__)
def test_a_stock_file_loads_and_ours_opens_in_stock_keras(topology: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    ours = check_both_ways(topology(Names(keras)), tmp_path, rng)
    assert type(ours) is (everystep.Sequential if topology.__name__ in ("stacked", "both_ways") else everystep.Model)


@pytest.mark.usefixtures("wide")
def test_layers_of_everystep_keras(tmp_path: Path) -> None:
    k = Names(everystep.keras)
    x, resets = k.Input((T, I), name="x"), k.Input((T,), dtype="bool", name="resets")
    more = dict(return_sequences=True, return_gates=True, trainable_initial_state=True)
    function = dict(recurrent_activation=hard_sigmoid_keras2)
    y, *gates = k.LSTM(H, return_cell_sequences=True, kernel_regularizer="l2", **function, **more)(x, resets=resets)
    z, *others = k.Bidirectional(k.GRU(H, **more))(k.Masking()(y))
    last = k.TimeDistributed(k.Dense(2, kernel_constraint="max_norm"))(
        k.RNN([k.GRUCell(3), k.LSTMCell(2)], return_sequences=True)(z)
    )
    ours = check_both_ways(k.Model([x, resets], [last, *gates, *others]), tmp_path, np.random.default_rng(12))
    assert ours.layers[2].recurrent_activation == "hard_sigmoid_keras2"
    assert {"initial_h", "initial_c"} <= set(ours.layers[2].named_weights)


@pytest.mark.usefixtures("wide")
def test_what_two_models_share_stays_one(tmp_path: Path) -> None:
    """Keras says so in the file, and then reads one layer's calls as the other's: we read what was saved.

    What it would misread is not written.
    """
    k, path, rng = Names(keras), tmp_path / "theirs.keras", np.random.default_rng(13)
    shared, dense = k.LSTM(H, return_sequences=True, name="shared"), k.Dense(H, name="dense")
    p = k.Input((T, H), name="p")
    inner = k.Model(p, dense(shared(p)), name="inner")
    x = k.Input((T, H), name="x")
    theirs = k.Model(x, k.TimeDistributed(dense)(shared(inner(dense(shared(x))))))
    random_weights(theirs, rng)
    theirs.save(path)
    ours = load_model(path)
    assert ours.get_layer("shared") is ours.get_layer("inner").get_layer("shared")
    assert ours.layers[-1].layer is ours.get_layer("dense") is ours.get_layer("inner").get_layer("dense")
    assert_same_weights(ours, theirs)
    values = data(ours, rng)
    assert_close64([ours.predict(values)], [theirs.predict(values, verbose=0)])
    with pytest.raises(UnsupportedError, match="layer 'inner/shared' is also 'shared'; Keras would make two layers"):
        ours.save(path)


def trained(path: Path) -> Any:
    """A compiled model of float32 with a compiled model in it, trained a little, in a file: two layers of a class."""
    inner = keras.Sequential([keras.Input((T, I)), keras.layers.Dense(I), keras.layers.Dropout(0.5, seed=1)])
    inner.compile("sgd", "mse")
    x = keras.Input((T, I))
    y = keras.layers.LSTM(H, return_sequences=True, dropout=0.2)(inner(x))
    model = keras.Model(x, keras.layers.Dense(2)(keras.layers.Dense(3)(keras.layers.GRU(H)(y))))
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(np.ones((4, T, I)), np.ones((4, 2)), verbose=0)
    model.save(path)
    return model


def test_what_training_leaves_in_a_file_is_not_read(tmp_path: Path) -> None:
    theirs = trained(tmp_path / "trained.keras")
    assert_same_weights(load_model(tmp_path / "trained.keras"), theirs)


def rewritten(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | members
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_weights_at_the_paths_of_keras_2_13(tmp_path: Path) -> None:
    """Those of its saving_lib: another name for `layers`, and a layer with weights counts twice."""
    path = tmp_path / "old.keras"
    theirs = trained(path)
    new = {
        "layers/sequential/layers/dense": "sequential/_layer_checkpoint_dependencies/dense",
        "layers/lstm/cell": "lstm/cell",
        "layers/gru/cell": "gru/cell",
        "layers/dense": "dense",
        "layers/dense_1": "dense_2",
    }
    file = io.BytesIO()
    with zipfile.ZipFile(path) as archive:
        stored = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(stored) as old, h5py.File(file, "w") as made:
        for here, there in new.items():
            old.copy(old[f"{here}/vars"], made, f"_layer_checkpoint_dependencies/{there}/vars")
    rewritten(path, {"model.weights.h5": file.getvalue()})
    assert_same_weights(load_model(path), theirs)


def test_a_file_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    model = everystep.Sequential([everystep.Input((T, I)), everystep.layers.LSTM(H)])
    path.write_bytes(b"an older one")
    model.save(str(path))
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["metadata.json", "config.json", "model.weights.h5"]
        assert json.loads(archive.read("metadata.json"))["keras_version"].startswith("3.")
    assert [each.name for each in tmp_path.iterdir()] == ["model.keras"]


def test_the_file_of_a_save_that_fails_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.keras"
    model = everystep.Sequential([everystep.Input((T, I)), everystep.layers.LSTM(H)])
    model.save(path)
    before = path.read_bytes()

    def full(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
        if name == "model.weights.h5":
            raise OSError("disk full")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OSError, match="disk full"):
        model.save(path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_saved_or_loaded(tmp_path: Path) -> None:
    model = everystep.Sequential([everystep.layers.LSTM(H)])
    with pytest.raises(GraphError, match="has no weights yet, to be saved"):
        model.save(tmp_path / "model.keras")
    model.build((None, T, I))
    with pytest.raises(OptionError, match=r"as a .keras file; got the path '.*model.h5'"):
        model.save(tmp_path / "model.h5")
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="not yet been built"):
        keras.Sequential([keras.layers.LSTM(2)]).save(tmp_path / "unbuilt.keras")
    with pytest.raises(GraphError, match="does not know its inputs"):
        load_model(tmp_path / "unbuilt.keras")
    model.save(tmp_path / "model.keras")
    with pytest.raises(FileError, match="and max_bytes is 1000"):
        load_model(tmp_path / "model.keras", max_bytes=1000)


def test_a_load_draws_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    everystep.Sequential([everystep.Input((T, I)), everystep.layers.LSTM(H)]).save(path)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    load_model(path)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002
