"""Layers of the user's own, from files that stock Keras wrote: made, run, streamed, and written for Keras again."""

from __future__ import annotations

import json
import threading
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tolerances import assert_close64

import everystep
from everystep import layers
from everystep.errors import OptionError, UnsupportedError
from everystep.layers import registered


class Scale(keras.layers.Layer):
    """Keras's side: x * scale ** power + shift, a number for each feature."""

    def __init__(self, power: int = 1, **options: Any) -> None:
        super().__init__(**options)
        self.power = power

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(name="scale", shape=(shape[-1],), initializer="uniform")
        self.shift = self.add_weight(name="shift", shape=(shape[-1],), initializer="uniform")

    def call(self, x: Any) -> Any:
        return x * self.scale**self.power + self.shift

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "power": self.power}


Packaged = keras.saving.register_keras_serializable("company")(type("Packaged", (Scale,), {}))


class OurScale(layers.Layer):
    """Our side of it, under a name of its own."""

    config_names = ("power",)

    def __init__(self, power: int = 1, **options: Any) -> None:
        super().__init__(**options)
        self.power = power

    def build(self, input_shape: Any) -> None:
        for name in ("scale", "shift"):
            self.add_weight(name, (input_shape[-1],), np.ones)

    def apply(self, inputs: Any) -> Any:
        return inputs * self._weights["scale"] ** self.power + self._weights["shift"]


class Other(layers.Layer):
    """Another."""


@pytest.fixture(autouse=True)
def own_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registered, "_NAMES", {})
    monkeypatch.setattr(registered, "_CLASSES", {})


def stock(cls: type = Scale, time: int | None = None) -> Any:
    """A stock model with that layer twice, once in a model in the model, and random weights."""
    inner = keras.Sequential([keras.Input((time, 5)), cls(power=2, name="inner_scale")], name="encoder")
    x = keras.Input((time, 3))
    y = keras.layers.LSTM(5, return_sequences=True)(cls(power=3, name="scale")(x))
    model = keras.Model(x, keras.layers.Dense(2)(inner(y)))
    rng = np.random.default_rng(0)
    model.set_weights([rng.standard_normal(weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize(("cls", "name"), [(Scale, "Scale"), (Packaged, "company>Packaged"), (Packaged, "Packaged")])
def test_a_file_of_stock_keras_runs_and_streams(wide: None, tmp_path: Path, cls: type, name: str) -> None:
    everystep.register(name, OurScale)
    theirs = stock(cls)
    theirs.save(tmp_path / "model.keras")
    ours = everystep.load_model(tmp_path / "model.keras")
    assert type(ours.get_layer("scale")) is OurScale
    x = np.random.default_rng(1).standard_normal((3, 7, 3))
    wanted = theirs.predict(x, verbose=0)
    assert_close64(ours.predict(x), wanted)
    assert_close64(everystep.from_keras(theirs).predict(x), wanted)
    stream = ours.stream(batch_size=3)
    for t in range(7):
        assert_close64(stream.step(x[:, t]), wanted[:, t])

    ours.save(tmp_path / "again.keras")
    scope = {"Scale": Scale} if cls is Scale else {}
    assert_close64(keras.saving.load_model(tmp_path / "again.keras", scope).predict(x, verbose=0), wanted)
    assert_close64(everystep.load_model(tmp_path / "again.keras").predict(x), wanted)
    assert everystep.Model.from_config(ours.get_config()).get_layer("scale").power == 3


def test_the_names_that_a_file_had_are_written_again(tmp_path: Path) -> None:
    everystep.register("Packaged", OurScale)
    stock(Packaged).save(tmp_path / "model.keras")
    everystep.load_model(tmp_path / "model.keras").save(tmp_path / "again.keras")
    entries = []
    for name in ("model.keras", "again.keras"):
        with zipfile.ZipFile(tmp_path / name) as archive:
            found = json.loads(archive.read("config.json"))["config"]["layers"]
        entries.append(next(entry for entry in found if entry["name"] == "scale"))
    for key in ("module", "class_name", "registered_name"):
        assert entries[0][key] == entries[1][key]
    assert entries[1]["registered_name"] == "company>Packaged"


def test_a_model_made_in_code_is_saved_for_keras(wide: None, tmp_path: Path) -> None:
    everystep.register("Scale", OurScale)
    model = everystep.Sequential(
        [everystep.Input((4, 3), dtype="float64"), OurScale(2, dtype="float64"), OurScale(dtype="float64")]
    )
    rng = np.random.default_rng(2)
    model.set_weights([rng.standard_normal(weight.shape) for weight in model.weights])
    assert model.layers[0].name.startswith("scale")
    model.save(tmp_path / "model.keras")
    x = rng.standard_normal((2, 4, 3))
    theirs = keras.saving.load_model(tmp_path / "model.keras", {"Scale": Scale})
    assert_close64(model.predict(x), theirs.predict(x, verbose=0))
    assert_close64(everystep.load_model(tmp_path / "model.keras").predict(x), model.predict(x))


def test_the_name_with_its_package_goes_first(tmp_path: Path) -> None:
    everystep.register("Packaged", Other)
    everystep.register("company>Packaged", OurScale)
    stock(Packaged).save(tmp_path / "model.keras")
    assert type(everystep.load_model(tmp_path / "model.keras").get_layer("scale")) is OurScale


def test_an_unknown_class_says_how_to_register_it(tmp_path: Path) -> None:
    theirs = keras.Sequential([keras.Input((2, 3)), keras.Sequential([Scale(name="s")], name="encoder")])
    theirs.save(tmp_path / "model.keras")
    with pytest.raises(UnsupportedError, match=r"'encoder/s' is a Scale .*everystep.register\(\"Scale\", cls\)"):
        everystep.load_model(tmp_path / "model.keras")


def test_a_name_of_keras_own_stays_everysteps(tmp_path: Path) -> None:
    """Whoever registers an LSTM of a package of theirs gets it for that package only."""
    everystep.register("company>LSTM", OurScale)
    model = everystep.Sequential([everystep.Input((2, 3)), layers.LSTM(2, name="rec")])
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = members["config.json"].replace(
        b'"registered_name": null', b'"registered_name": "company>LSTM"'
    )
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    assert type(everystep.load_model(tmp_path / "model.keras").get_layer("rec")) is layers.LSTM


BAD = [
    ("Scale", object, "must derive from everystep.layers.Layer.*got object"),
    ("Scale", Scale, "must derive from everystep.layers.Layer.*got Scale"),
    ("Scale", Other(), "must derive from everystep.layers.Layer.*got <"),
    ("Scale", layers.Dense, "Dense is everystep's own; derive a class"),
    ("LSTM", OurScale, "'LSTM' is everystep's own and stays so; register your class as 'package>LSTM'"),
    ("Functional", OurScale, "'Functional' is everystep's own"),
    ("", OurScale, '"ClassName" or "package>ClassName"; got \'\''),
    ("a>", OurScale, "got 'a>'"),
    (">a", OurScale, "got '>a'"),
    ("a.b", OurScale, "got 'a.b'"),
    (None, OurScale, "got None"),
]


@pytest.mark.parametrize(("name", "cls", "message"), BAD)
def test_what_cannot_be_registered(name: Any, cls: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        everystep.register(name, cls)
    assert not registered._CLASSES


def test_a_name_has_one_class_and_a_class_one_name() -> None:
    for _ in range(2):  # the same again does nothing
        everystep.register("Scale", OurScale)
    with pytest.raises(OptionError, match="'Scale' is registered as OurScale already"):
        everystep.register("Scale", Other)
    with pytest.raises(OptionError, match="OurScale is registered as 'Scale' already; derive a class for 'Scale2'"):
        everystep.register("Scale2", OurScale)


def test_one_of_many_threads_gets_the_name() -> None:
    classes = [type(f"Own{number}", (layers.Layer,), {}) for number in range(16)]
    barrier, refused = threading.Barrier(len(classes)), []

    def run(cls: type) -> None:
        barrier.wait()
        try:
            everystep.register("Own", cls)
        except OptionError:
            refused.append(cls)

    threads = [threading.Thread(target=run, args=(cls,)) for cls in classes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == len(classes) - 1
    assert registered._CLASSES["Own"] not in refused
