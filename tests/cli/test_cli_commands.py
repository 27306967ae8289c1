"""`everystep explain`, `everystep convert`, and the command as a whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from cli_cases import I, ran, refused, saved, states

import everystep
from everystep.saved.keras3_changes import keras3_changes


def assert_close(stock: Any, ours: Any) -> None:
    """Three steps, of sums of eight numbers each, in float32 and in another order; all outputs are below 1."""
    np.testing.assert_allclose(stock, ours, rtol=0, atol=3 * 16 * np.finfo(np.float32).eps)


def test_explain_prints_what_explain_says(tmp_path: Path) -> None:
    path, model = saved(states(), tmp_path)
    printed = ran("explain", path)
    assert printed == f"{everystep.explain(model)}\n"
    assert "lstm" in printed


def test_convert_writes_what_keras_opens(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    path, model = saved(states(), tmp_path)
    assert str(tmp_path / "new.keras") in ran("convert", path, tmp_path / "new.keras")
    x = np.random.default_rng(5).normal(size=(2, 3, I)).astype(np.float32)
    ours = everystep.load_model(tmp_path / "new.keras").predict(x)
    theirs = keras.saving.load_model(tmp_path / "new.keras").predict(x, verbose=0)
    for new, old, stock in zip(ours, model.predict(x), theirs, strict=True):
        np.testing.assert_array_equal(new, old)
        assert_close(stock, old)


def old_file(path: Path) -> None:
    """What Keras 2.2.4 wrote of an LSTM, whose gates were hard_sigmoid's by default."""
    rng = np.random.default_rng(6)
    weights = {"kernel": (I, 16), "recurrent_kernel": (4, 16), "bias": (16,)}
    layer = {"name": "lstm_1", "units": 4, "batch_input_shape": [None, None, I], "recurrent_activation": "hard_sigmoid"}
    config = {"name": "sequential_1", "layers": [{"class_name": "LSTM", "config": layer}]}
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = b"2.2.4", b"tensorflow"
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config}).encode()
        root = file.create_group("model_weights")
        root.attrs["keras_version"], root.attrs["backend"] = b"2.2.4", b"tensorflow"
        root.attrs["layer_names"] = [b"lstm_1"]
        group = root.create_group("lstm_1")
        group.attrs["weight_names"] = [f"lstm_1/{name}:0".encode() for name in weights]
        for name, shape in weights.items():
            group[f"lstm_1/{name}:0"] = rng.normal(size=shape).astype(np.float32)


def test_convert_moves_a_file_of_keras_2_and_says_what_changes(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    old_file(tmp_path / "old.h5")
    printed = ran("convert", tmp_path / "old.h5", tmp_path / "new.keras")
    model = everystep.load_model(tmp_path / "old.h5")
    assert printed.splitlines() == [*keras3_changes(model), f"{tmp_path / 'new.keras'} written"]
    assert "layer 'lstm_1': recurrent_activation" in printed
    x = np.random.default_rng(5).normal(size=(2, 3, I)).astype(np.float32)
    stock = keras.saving.load_model(tmp_path / "new.keras").predict(x, verbose=0)
    assert np.abs(stock).max() > 0.01
    assert_close(stock, model.predict(x))


def test_convert_writes_over_nothing(tmp_path: Path) -> None:
    path, model = saved(states(), tmp_path)
    new = tmp_path / "new.keras"
    new.write_text("mine")
    assert "exists already" in refused("convert", path, new)
    assert "exists already" in refused("convert", path, path)
    assert new.read_text() == "mine"
    ran("convert", path, new, "--force")
    assert everystep.load_model(new).get_config() == model.get_config()
    assert ".keras" in refused("convert", path, tmp_path / "new.h5")
    assert not (tmp_path / "new.h5").exists()


@pytest.mark.parametrize(
    "command", [("explain",), ("convert", "new.keras"), ("step",), ("predict", "x.npy", "-o", "y.npy")]
)
def test_a_file_that_is_no_model(command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.keras").write_bytes(b"PK\3\4 no model")
    np.save("x.npy", np.zeros((1, 2, I)))
    name, *rest = command
    assert "m.keras" in refused(name, "m.keras", *rest)
    assert "does not exist" in refused(name, "none.keras", *rest, code=2)
    assert not Path("new.keras").exists()
    assert not Path("y.npy").exists()


def test_help_and_version() -> None:
    assert everystep.__version__ in ran("--version")
    for command in ("predict", "step", "explain", "convert"):
        assert command in ran("--help")
        assert "Usage" in ran(command, "--help")


def test_as_a_module_without_a_framework(tmp_path: Path) -> None:
    path, _ = saved(states(), tmp_path)
    code = (
        "import sys; sys.modules |= dict.fromkeys(('keras', 'jax', 'torch', 'tensorflow'));"
        f"sys.argv = ['everystep', 'explain', {str(path)!r}];"
        "import runpy; runpy.run_module('everystep', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "lstm" in done.stdout


@pytest.mark.parametrize(
    ("missing", "message"), [("click", "pip install 'everystep[cli]'"), ("pyarrow", "pip install pyarrow")]
)
def test_what_is_not_installed_is_named(missing: str, message: str, tmp_path: Path) -> None:
    path, _ = saved(states(), tmp_path)
    (tmp_path / "x.parquet").write_bytes(b"")
    arguments = ["everystep", "predict", str(path), str(tmp_path / "x.parquet"), "-o", str(tmp_path / "y.npz")]
    code = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = {arguments!r}; from everystep.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
