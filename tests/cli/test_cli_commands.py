"""`everystep explain`, `everystep convert`, and the command as a whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_cases import I, ran, refused, saved, states

import everystep


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
        np.testing.assert_allclose(stock, old, rtol=0, atol=3 * 16 * np.finfo(np.float32).eps)  # T products of H+I


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
