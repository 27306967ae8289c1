"""Times a process from its start to its first prediction of a saved model: `make start`.

Every round starts each program once, in turn, and the tables show the median and the quartiles over all rounds. Before
that, each program's prediction is compared with the first one's. The programs run in this environment, but for
TensorFlow: `--tensorflow PYTHON` names the Python of an environment that has it, and Keras 3.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import report
from tqdm import tqdm

import everystep
from everystep import layers

T, I, H = 20, 32, 128
GOAL = 0.1  # seconds beyond importing NumPy and h5py
INPUT = f"import numpy as np; x = np.linspace(-1, 1, {T * I}, dtype='float32').reshape(1, {T}, {I})"
KERAS = f"import keras; {INPUT}; y = keras.saving.load_model({{path!r}}).predict(x, verbose=0)"
PROGRAMS = {
    "Python alone": "pass",
    "NumPy and h5py imported": "import numpy, h5py",
    "everystep": f"import everystep; {INPUT}; y = everystep.load_model({{path!r}}).predict(x)",
    "Keras on JAX": KERAS,
    "Keras on TensorFlow": KERAS,
}
BACKENDS = {"Keras on JAX": "jax", "Keras on TensorFlow": "tensorflow"}


def start(name: str, python: str, path: Path, after: str = "") -> tuple[float, str]:
    """The seconds that a program takes, and what it prints."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": BACKENDS.get(name, "")}
    command = [python, "-c", PROGRAMS[name].format(path=str(path)) + after]
    begin = time.perf_counter()
    done = subprocess.run(command, env=os.environ | quiet, capture_output=True, text=True)
    taken = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    return taken, done.stdout


def compare(pythons: dict[str, str], path: Path) -> None:
    """All programs predict the same, to 1e-4 of the largest number: float32's rounding, many times over."""
    found = {}
    for name, python in pythons.items():
        if "; y = " in PROGRAMS[name]:
            _, printed = start(name, python, path, "; print(y.tolist())")
            found[name] = np.array(json.loads(printed.splitlines()[-1]))
    first = next(iter(found.values()))
    for name, y in found.items():
        if y.shape != first.shape or np.abs(y - first).max() > 1e-4 * np.abs(first).max():
            raise SystemExit(f"{name} predicts something else: {y}, not {first}")


def markdown(found: dict[str, Any]) -> str:
    base = next(row["median"] for row in found["rows"] if row["name"] == "NumPy and h5py imported")
    lines = [
        *report.heading("From a process's start to its first prediction", found),
        f"A .keras file of two LSTM of {H} units and a Dense layer is loaded and predicts once: one sequence of {T} "
        f"steps with {I} features. Median and quartiles of {found['rounds']} starts, whose programs took turns. "
        f"*Beyond* is the median less that of importing NumPy and h5py; everystep's should be at most {GOAL:.2f} s.",
        "",
        "| | median | quartiles | beyond |",
        "|:--|--:|:-:|--:|",
    ]
    for row in found["rows"]:
        quartiles = " to ".join(map(report.duration, row["quartiles"]))
        beyond = report.duration(row["median"] - base) if row["median"] > base else ""
        lines.append(f"| {row['name']} | {report.duration(row['median'])} | {quartiles} | {beyond} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--tensorflow", metavar="PYTHON", help="of an environment with TensorFlow and Keras 3")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/start.md and .json")
    arguments = parser.parse_args()
    report.warn_if_busy()
    pythons = dict.fromkeys(PROGRAMS, sys.executable) | {"Keras on TensorFlow": arguments.tensorflow}
    pythons = {name: python for name, python in pythons.items() if python}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        stack = [layers.LSTM(H, return_sequences=True), layers.LSTM(H), layers.Dense(1)]
        everystep.Sequential([everystep.Input((T, I)), *stack]).save(path)
        compare(pythons, path)
        times: dict[str, list[float]] = {name: [] for name in pythons}
        for _ in tqdm(range(arguments.rounds), disable=None):
            for name, python in pythons.items():
                times[name].append(start(name, python, path)[0])
    rows = []
    for name, taken in times.items():
        low, median, high = np.quantile(taken, (0.25, 0.5, 0.75)).tolist()
        rows.append(dict(name=name, median=median, quartiles=(low, high)))
    threads = everystep.engine_info()["num_threads"]
    found = report.circumstances({"numpy": np.__version__}, threads) | dict(rounds=arguments.rounds, rows=rows)
    print(markdown(found))
    if arguments.write:
        report.write("start", found, markdown(found))


if __name__ == "__main__":
    main()
