"""Files of Keras 2: what they hold is what Keras 2 computes, and stock Keras 3 too once they are saved anew."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from goldens import MIMICKED, OTHERWISE, REAL, inputs_and_outputs, unpacked
from tolerances import assert_close64

import everystep
from everystep import load_model
from everystep.errors import FileError, UnsupportedError
from everystep.saved.keras3_changes import keras3_changes

leaves = keras.tree.flatten


def assert_computes(model: Any, folder: Path, case: str) -> None:
    x, expected = inputs_and_outputs(folder, case)
    assert_close64(leaves(model.predict(x)), expected)


# ---- Whole models ----


@pytest.mark.parametrize("case", [*REAL, *OTHERWISE])
@pytest.mark.parametrize("ending", ["h5", "keras"])
def test_a_file_of_tf_keras(case: str, ending: str, tmp_path: Path) -> None:
    assert_computes(load_model(unpacked(tmp_path, f"{case}.{ending}")), tmp_path, case)


@pytest.mark.parametrize("case", MIMICKED)
def test_a_file_of_an_older_keras(case: str, tmp_path: Path) -> None:
    """Which tf_keras reads equally: the script that made it asserted that."""
    record = json.loads(unpacked(tmp_path, "made.json").read_text())
    assert "outputs are equal" in record["mimicked"][f"{case}.h5"]
    assert_computes(load_model(unpacked(tmp_path, f"{case}.h5")), tmp_path, case)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("case", [*REAL, *MIMICKED])
def test_saved_anew_it_opens_in_stock_keras_3(case: str, tmp_path: Path) -> None:
    model = load_model(unpacked(tmp_path, f"{case}.h5"))
    model.save(tmp_path / "new.keras")
    x, expected = inputs_and_outputs(tmp_path, case)
    theirs = keras.models.load_model(tmp_path / "new.keras")
    assert_close64(leaves(theirs.predict(x, verbose=0)), expected)
    assert_computes(load_model(tmp_path / "new.keras"), tmp_path, case)


def test_masks_that_keras_3_treats_otherwise_are_named(tmp_path: Path) -> None:
    changes = keras3_changes(load_model(unpacked(tmp_path, "masks_of_keras_2.h5")))
    named = {re.match(r"layer '(\w+)': Keras 3's (\w+)", line).groups() for line in changes}  # type: ignore[union-attr]
    assert named == {
        ("product", "Multiply"),
        ("largest", "Maximum"),
        ("scaled", "Rescaling"),
        ("same", "Reshape"),
        ("difference", "Subtract"),
        ("multi_head_attention", "MultiHeadAttention"),
    }


def test_what_changes_on_the_way_to_keras_3_is_said(tmp_path: Path) -> None:
    changes = keras3_changes(load_model(unpacked(tmp_path, "stack.h5")))
    assert [re.match(r"layer '(\w+)': (\w+)", line).groups() for line in changes] == [  # type: ignore[union-attr]
        ("lstm_1", "recurrent_activation"),
        ("gru_1", "recurrent_activation"),
        ("dense_1", "activation"),
    ]
    assert keras3_changes(load_model(unpacked(tmp_path, "cudnn.h5"))) == []


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize(
    ("layer", "options"),
    [
        ("LSTM", dict(recurrent_activation="hard_sigmoid_keras2", activation="relu")),
        ("GRU", dict(recurrent_activation="hard_sigmoid_keras2", activation="hard_sigmoid_keras2")),
        ("GRU", dict(recurrent_activation="hard_sigmoid_keras2", reset_after=False, use_bias=False)),
        ("GRU", dict(activation="hard_sigmoid_keras2", reset_after=False)),
        ("SimpleRNN", dict(activation="hard_sigmoid_keras2")),
        ("Dense", dict(activation="hard_sigmoid_keras2")),
        ("Conv1D", dict(activation="hard_sigmoid_keras2", kernel_size=2)),
        ("SeparableConv1D", dict(activation="hard_sigmoid_keras2", kernel_size=2)),
    ],
)
def test_the_old_hard_sigmoid_becomes_the_new_one(layer: str, options: dict[str, Any], tmp_path: Path) -> None:
    ours = everystep.Sequential(
        [everystep.Input((5, 3), dtype="float64"), getattr(everystep.layers, layer)(4, dtype="float64", **options)]
    )
    rng = np.random.default_rng(3)
    ours.set_weights([rng.normal(0, 0.9, w.shape) for w in ours.get_weights()])
    before = ours.get_weights()
    ours.save(tmp_path / "new.keras")
    x = rng.normal(size=(4, 5, 3))
    theirs = keras.models.load_model(tmp_path / "new.keras")
    assert_close64([theirs.predict(x, verbose=0)], [ours.predict(x)])
    assert len(keras3_changes(ours)) == sum("keras2" in str(value) for value in options.values())
    assert not any("keras2" in str(value) for value in theirs.layers[0].get_config().values())
    for one, other in zip(before, ours.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_where_the_weights_cannot_make_up_for_it_the_function_stays(tmp_path: Path) -> None:
    old = dict(activation="hard_sigmoid_keras2")
    ours = everystep.Sequential([everystep.Input((5, 3)), everystep.layers.LSTM(2, **old)])
    (line,) = keras3_changes(ours)
    assert "activation hard_sigmoid_keras2" in line
    assert "written as a function of everystep.keras" in line
    ours.save(tmp_path / "new.keras")
    x = np.random.default_rng(4).normal(size=(2, 5, 3)).astype(np.float32)
    np.testing.assert_array_equal(load_model(tmp_path / "new.keras").predict(x), ours.predict(x))


def stock(path: Path) -> Any:
    x = keras.Input((5, 3))
    inner = keras.Sequential([keras.Input((5, 4)), keras.layers.GRU(3), keras.layers.Dense(2)])
    model = keras.Model(x, inner(keras.layers.Bidirectional(keras.layers.LSTM(2, return_sequences=True))(x)))
    model.save(path)
    return model


@pytest.mark.usefixtures("wide")
def test_an_h5_of_keras_3(tmp_path: Path) -> None:
    theirs = stock(tmp_path / "three.h5")
    x = np.random.default_rng(5).normal(size=(2, 5, 3))
    assert_close64([load_model(tmp_path / "three.h5").predict(x)], [theirs.predict(x, verbose=0)])


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    for case, ending, other in (("stack", "h5", "keras"), ("stack", "keras", "h5")):
        path = unpacked(tmp_path, f"{case}.{ending}").rename(tmp_path / f"renamed.{other}")
        assert_computes(load_model(path), tmp_path, case)


# ---- Other forms of the same file ----


def changed(path: Path, change: Callable[[h5py.File], Any]) -> Path:
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def with_config(change: Callable[[Any], Any]) -> Callable[[h5py.File], None]:
    def rewrite(file: h5py.File) -> None:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)

    return rewrite


def in_pieces(file: h5py.File) -> None:
    weights = file["model_weights"]
    names = [str(name).encode() for name in weights.attrs["layer_names"]]
    del weights.attrs["layer_names"]
    weights.attrs["layer_names0"], weights.attrs["layer_names1"] = np.array(names[:2]), np.array(names[2:])


def in_bytes(file: h5py.File) -> None:
    for name in ("keras_version", "backend", "model_config"):
        file.attrs[name] = np.bytes_(str(file.attrs[name]))


@pytest.mark.parametrize("form", [in_pieces, in_bytes])
def test_names_in_pieces_and_bytes_in_the_place_of_strings(form: Any, tmp_path: Path) -> None:
    path = changed(unpacked(tmp_path, "stack.h5"), form)
    assert_computes(load_model(path), tmp_path, "stack")


def test_what_is_of_training_is_not_read(tmp_path: Path) -> None:
    def trained(file: h5py.File) -> None:
        file.attrs["training_config"] = "no JSON"
        file["optimizer_weights/Adam/iterations:0"] = h5py.SoftLink("/nowhere")

    assert_computes(load_model(changed(unpacked(tmp_path, "stack.h5"), trained)), tmp_path, "stack")


# ---- What is refused ----


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is a directory, no model's file"):
        load_model(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(FileError, match=r"SavedModel.*save it by model.save\('model.h5'\)"):
        load_model(tmp_path)


def test_weights_alone(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"holds weights alone.*call model.load_weights"):
        load_model(unpacked(tmp_path, "stack.weights_only.h5"))


def test_weights_alone_of_keras_3(tmp_path: Path) -> None:
    load_model(unpacked(tmp_path, "stack.h5")).save_weights(tmp_path / "new.weights.h5")
    with pytest.raises(FileError, match="holds weights alone"):
        load_model(tmp_path / "new.weights.h5")


def set_first(key: str, value: Any, kind: str = "LSTM") -> Callable[[h5py.File], None]:
    def change(config: Any) -> None:
        next(one for one in config["config"]["layers"] if one["class_name"] == kind)["config"][key] = value

    return with_config(change)


def make_lambda(config: Any) -> None:
    config["config"]["layers"][-1]["class_name"] = "Lambda"


FIRST = "model_weights/dense_1/dense_1/kernel:0"


def replace_first(make: Callable[[h5py.File], Any]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[FIRST]
        make(file)

    return change


def many_strings(file: h5py.File) -> None:
    file["model_weights"].attrs["layer_names"] = np.array(["a"] * 3_000, dtype=object)
    file.attrs["backend"] = "b" * 300_000


def long_path(file: h5py.File) -> None:
    """Each object in it would repeat that: many of them, far more memory than the file has."""
    file["model_weights"].create_group("g" * 5_000)


def list_twice(file: h5py.File) -> None:
    group = file["model_weights/dense_1"]
    group.attrs["weight_names"] = np.array([b"dense_1/kernel:0", b"dense_1/kernel:0"])
    del group["dense_1/bias:0"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (set_first("time_major", True), UnsupportedError, r"'sequential/lstm_1' \(LSTM\) has time_major"),
        (set_first("units", 7), FileError, r"must be of shape \(3, 28\); it is \(3, 8\)"),
        (set_first("inner_activation", "sigmoid"), UnsupportedError, "as Keras 1 called it"),
        (with_config(make_lambda), UnsupportedError, "'dense_1' is a Lambda"),
        (lambda file: file.attrs.__setitem__("keras_version", "1.2.2"), UnsupportedError, "written by Keras 1.2.2"),
        (lambda file: file.attrs.__setitem__("model_config", "{"), FileError, "is not valid"),
        (lambda file: file.attrs.__delitem__("model_config"), FileError, "holds weights alone"),
        (lambda file: file["model_weights"].attrs.__delitem__("layer_names"), FileError, "has no 'layer_names'"),
        (lambda file: file["model_weights"].attrs.__setitem__("layer_names", [1, 2]), FileError, "must be a string or"),
        (many_strings, FileError, "may come to more than"),
        (long_path, FileError, "or a path longer than 4096"),
        (replace_first(lambda file: None), FileError, "which a weight_names lists"),
        (
            replace_first(lambda file: file.__setitem__(FIRST, h5py.SoftLink("/model_weights"))),
            FileError,
            r"is a link to elsewhere \(SoftLink\)",
        ),
        (
            replace_first(lambda file: file.__setitem__(FIRST, h5py.ExternalLink("other.h5", "/x"))),
            FileError,
            r"is a link to elsewhere \(ExternalLink\)",
        ),
        (
            replace_first(lambda file: file.create_dataset(FIRST, (3, 2), "f8", compression="gzip")),
            FileError,
            "in chunks or through a filter",
        ),
        (
            replace_first(lambda file: file.create_dataset(FIRST, (3, 2), "f8", external=[("other.bin", 0, 48)])),
            FileError,
            "has its data in another file",
        ),
        (replace_first(lambda file: file.create_dataset(FIRST, (3, 2), "f8")), FileError, "the file does not have"),
        (replace_first(lambda file: file.create_dataset(FIRST, data=np.ones((3, 2), "f4"))), FileError, "be float64"),
        (lambda file: file.__setitem__("model_weights/lstm_1/more", np.ones(2)), FileError, "no weight_names lists"),
        (list_twice, FileError, "which a weight_names lists twice"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_it_says(
    change: Callable[[h5py.File], Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    path = changed(unpacked(tmp_path, "stack.h5"), change)
    with pytest.raises(error, match=message):
        load_model(path)


def test_a_virtual_dataset(tmp_path: Path) -> None:
    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((3, 2), "f8")
        layout[:] = h5py.VirtualSource("other.h5", "x", (3, 2))
        file.create_virtual_dataset(FIRST, layout)

    with pytest.raises(FileError, match="is a virtual dataset"):
        load_model(changed(unpacked(tmp_path, "stack.h5"), replace_first(virtual)))


def test_damaged_and_too_large(tmp_path: Path) -> None:
    path = unpacked(tmp_path, "stack.h5")
    with pytest.raises(FileError, match="and max_bytes is 1000"):
        load_model(path, max_bytes=1000)
    whole = path.read_bytes()
    for size in (8, 100, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(FileError, match="is not an HDF5 file, or is damaged"):
            load_model(path)


def test_another_hdf5_file(tmp_path: Path) -> None:
    file = io.BytesIO()
    with h5py.File(file, "w") as made:
        made["x"] = np.ones(3)
    (tmp_path / "x.h5").write_bytes(file.getvalue())
    with pytest.raises(FileError, match="not a file that Keras saved a model in"):
        load_model(tmp_path / "x.h5")
