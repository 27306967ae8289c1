"""Keras's public names under ours, and the choice of Keras's backend."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras_twins import B, I, T

import everystep.keras
from everystep.errors import DependencyError, UnsupportedError
from everystep.keras import layers, models, namespace

OURS = {
    "layers": {"GRU", "LSTM", "RNN", "Bidirectional", "SimpleRNN", "TimeDistributed"},
    "models": {"Sequential", "load_model", "model_from_json"},
    "saving": {"load_model"},
    "": {"Sequential", "layers", "models", "saving"},
}


@pytest.mark.parametrize("module", sorted(OURS))
def test_every_public_name_is_keras_but_for_ours(module: str) -> None:
    ours = importlib.import_module(f"everystep.keras.{module}".rstrip("."))
    theirs = importlib.import_module(f"keras.{module}".rstrip("."))
    names = {name for name in dir(theirs) if not name.startswith("_") and name != "src"}
    assert names <= set(dir(ours))
    assert {name for name in names if getattr(ours, name) is not getattr(theirs, name)} == OURS[module]


def test_modules_of_keras_import_under_our_name() -> None:
    from everystep.keras.callbacks import EarlyStopping
    from everystep.keras.optimizers import Adam
    from everystep.keras.optimizers.schedules import ExponentialDecay

    from everystep.keras.layers import Dense, Input

    assert EarlyStopping is keras.callbacks.EarlyStopping
    assert (Dense, Input) == (keras.layers.Dense, keras.layers.Input)
    assert Adam is keras.optimizers.Adam
    assert ExponentialDecay is keras.optimizers.schedules.ExponentialDecay
    assert everystep.keras.backend.backend() == "jax"
    assert importlib.import_module("everystep.keras.saving") is everystep.keras.saving
    with pytest.raises(ImportError):
        importlib.import_module("everystep.keras.no_such_module")
    with pytest.raises(AttributeError, match="no_such_layer"):
        _ = layers.no_such_layer


@pytest.mark.parametrize("option", ["return_cell_sequences", "return_gates"])
def test_containers_refuse_additions_by_name(option: str) -> None:
    layer = layers.LSTM(2, name="mine", **{option: True})
    for make, advice in (
        (lambda: layers.TimeDistributed(layer), "Reshape"),
        (lambda: layers.TimeDistributed(layers.Bidirectional(layer, name="mine")), "Reshape"),
        (lambda: models.Sequential([keras.Input((T, I)), layer]), "Model"),
        (lambda: models.Sequential([keras.Input((T, I)), layers.Bidirectional(layer, name="mine")]), "Model"),
    ):
        with pytest.raises(UnsupportedError, match=f"layer 'mine' has {option}; .*functional API: .*{advice}"):
            make()


@pytest.mark.parametrize("option", ["return_cell_sequences", "return_gates"])
@pytest.mark.parametrize("options", [{}, {"return_sequences": True}, {"return_state": True}], ids=str)
def test_containers_of_keras_refuse_additions_when_they_call(option: str, options: dict[str, bool]) -> None:
    """Stacked as if they were one tensor, h and c of equal shapes would pass for an output."""
    rng = np.random.default_rng(2)
    layer = layers.LSTM(2, **{option: True}, **options)
    for container, shape in ((keras.layers.Bidirectional, (B, T, I)), (keras.layers.TimeDistributed, (B, 3, T, I))):
        with pytest.raises(UnsupportedError, match=rf"layer '.*lstm.*' has {option}; containers of Keras's own"):
            container(layer)(rng.normal(size=shape))


def test_containers_give_keras_numbers() -> None:
    rng = np.random.default_rng(1)
    found = []
    for names, sequential in ((layers, models.Sequential), (keras.layers, keras.Sequential)):
        model = sequential(
            [
                keras.Input((T, 3, I)),
                names.TimeDistributed(names.LSTM(2, return_sequences=True)),
                keras.layers.Reshape((3 * T, 2)),
                names.Bidirectional(names.LSTM(2, return_sequences=True), merge_mode="sum"),
                names.LSTM(1),
            ]
        )
        if not found:
            weights = [rng.normal(0, 0.5, w.shape) for w in model.get_weights()]
            x = rng.normal(size=(B, T, 3, I)).astype(np.float32)
        model.set_weights(weights)
        found.append(model.predict(x, verbose=0))
    # Far below any fault of order or direction, far above rounding (float32, values below 1).
    np.testing.assert_allclose(*found, rtol=0, atol=1e-5)


def start(code: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    environment = {**clean, "KERAS_HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


PRINT_BACKEND = "import everystep.keras as k, os; print(k.backend.backend())"


def test_the_backend_is_chosen_when_keras_would_find_none(tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "a_backend_that_is_not_installed"}))
    assert start(PRINT_BACKEND, tmp_path).stdout.split() == ["jax"]


def test_an_installed_choice_is_kept(tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "numpy"}))
    assert start(PRINT_BACKEND, tmp_path).stdout.split() == ["numpy"]


def test_choices_without_starting_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "keras")
    config = tmp_path / "keras.json"

    def chosen(backend: str | None, text: str | None, *installed: str) -> str | None:
        monkeypatch.setattr(namespace, "_installed", lambda name: name in installed)
        config.unlink(missing_ok=True)
        if text is not None:
            config.write_text(text)
        monkeypatch.delenv("KERAS_BACKEND", raising=False)
        if backend is not None:
            monkeypatch.setenv("KERAS_BACKEND", backend)
        namespace.choose_backend()
        return os.environ.get("KERAS_BACKEND")

    torch = '{"backend": "torch"}'
    assert chosen("torch", None, "jax") == "torch"  # Keras itself says that it is missing
    assert chosen(None, torch, "torch", "jax") is None
    assert chosen(None, torch, "jax", "tensorflow") == "jax"
    assert chosen(None, None, "tensorflow", "jax") is None  # TensorFlow is Keras's default
    assert chosen(None, None, "torch") == "torch"
    assert chosen(None, "not json", "torch", "jax") == "jax"
    with pytest.raises(DependencyError, match="needs a backend for Keras, one of jax, tensorflow, torch: install jax"):
        chosen(None, torch)


def test_the_wrong_keras_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespace, "version", lambda name: "2.15.0")
    with pytest.raises(DependencyError, match=r"needs Keras 3, and Keras 2\.15\.0 is installed"):
        namespace.check_keras()

    def missing(name: str) -> str:
        raise namespace.PackageNotFoundError(name)

    monkeypatch.setattr(namespace, "version", missing)
    with pytest.raises(DependencyError, match="no Keras is installed"):
        namespace.check_keras()
