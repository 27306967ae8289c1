"""The lines of docs/command_line.md run as they stand, and the files that they write hold what `predict` returns."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet

import everystep

TEXT = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text()


def test_the_lines_run(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    command = tmp_path / "bin" / "everystep"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m everystep "$@"\n')
    command.chmod(0o755)
    lines = "".join(re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL))
    path = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"}
    ran = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", lines], capture_output=True, text=True, cwd=tmp_path, env=path
    )
    assert ran.returncode == 0, ran.stderr
    assert lines.count("everystep ") == 7

    model = everystep.load_model(tmp_path / "forecaster.keras")
    expected = model.predict(np.load(tmp_path / "hours.npy"))
    np.testing.assert_array_equal(np.load(tmp_path / "forecasts.npy"), expected)
    with np.load(tmp_path / "forecasts.npz") as arrays:
        np.testing.assert_array_equal(arrays["forecast"], expected)
    jfk = np.array([[10 + hour, 1013.5, hour] for hour in range(3)])
    of_table = [*model.predict(jfk[None])[0, :, 0], *model.predict(jfk[None, :2])[0, :, 0]]
    table = parquet.read_table(tmp_path / "forecasts.parquet").to_pydict()
    assert table == {"airport": ["JFK"] * 3 + ["EWR"] * 2, "step": [0, 1, 2, 0, 1], "forecast": of_table}
    answers = [float(number) for number in re.findall(r"^\[?(-?\d\.\d+(?:e-\d+)?)\]?$", ran.stdout, re.MULTILINE)]
    np.testing.assert_array_equal(np.array(answers, np.float32), model.predict(jfk[None])[0, :, 0])
    assert "lstm" in ran.stdout
    assert everystep.load_model(tmp_path / "converted.keras").get_config() == model.get_config()
