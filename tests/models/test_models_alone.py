"""The half that runs needs NumPy and the engine, nothing else; and importing the package costs next to nothing."""

from __future__ import annotations

import subprocess
import sys

SEED = """
import sys
for name in ("keras", "jax", "jaxlib", "torch", "tensorflow", "h5py", "xarray", "matplotlib"):
    sys.modules[name] = None  # an import of it fails
from everystep.models import Model
from everystep.layers import Input, LSTM
from numpy import array
for options in ({}, {"return_sequences": True}, {"return_state": True},
                {"return_sequences": True, "return_state": True}):
    inputs1 = Input(shape=(3, 1))
    lstm1 = LSTM(1, **options)(inputs1)
    model = Model(inputs=inputs1, outputs=list(lstm1) if isinstance(lstm1, tuple) else lstm1)
    data = array([0.1, 0.2, 0.3]).reshape((1, 3, 1))
    found = model.predict(data)
    print([v.shape for v in found] if isinstance(found, list) else found.shape)
import everystep
assert everystep.engine_info()["cells"] == ("lstm", "gru", "gru_reset_before", "simple")
try:
    model.to_keras()
except ImportError as error:
    print(type(error).__name__)
"""

COST = """
import sys, time
import numpy
start = time.process_time()
import everystep
print(time.process_time() - start)
assert "everystep.engine" not in sys.modules
everystep.Model, everystep.from_keras
for name in ("keras", "jax", "h5py"):
    assert name not in sys.modules, name
print(time.process_time() - start)
assert set(everystep.__all__) <= set(dir(everystep))
"""


def python(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_seeds_four_cases_without_a_framework() -> None:
    shapes = ["(1, 1)", "(1, 3, 1)", "[(1, 1), (1, 1), (1, 1)]", "[(1, 3, 1), (1, 1), (1, 1)]"]
    assert python(SEED)[:4] == shapes
    assert len(python(SEED)) == 5  # to_keras asks for Keras


def test_importing_costs_little() -> None:
    costs = [[float(line) for line in python(COST)] for _ in range(3)]
    assert min(package for package, _ in costs) < 0.1
    assert min(everything for _, everything in costs) < 0.3
