"""The tutorial's four cases print the tutorial's digits, from weights that Keras could have drawn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import seed_cases  # noqa: E402  (found through the line above)

FRAMEWORKS = ("keras", "jax", "torch", "tensorflow")


@pytest.mark.parametrize("instruction_set", ["baseline", "avx2", "avx512"])
def test_every_digit_on_every_instruction_set(instruction_set: str) -> None:
    environment = os.environ | {"EVERYSTEP_INSTRUCTION_SET": instruction_set}
    probe = "import everystep; print(everystep.engine_info()['instruction_set'])"
    found = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True)
    if found.stdout.strip() != instruction_set:
        pytest.skip(f"this CPU has no {instruction_set}")
    command = [sys.executable, str(EXAMPLES / "seed_cases.py"), "everystep", "--explain", "--without", *FRAMEWORKS]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    assert printed.count("same digits as the tutorial's") == 4
    for case in seed_cases.CASES:
        assert f"{case.build}print(model.predict(data))\n\n{case.printed}\n" in printed
    assert printed.count("what each layer returns") == 4


@pytest.mark.parametrize("case", seed_cases.CASES, ids=["1", "2", "3", "4"])
def test_keras_could_have_drawn_the_weights(case: seed_cases.Case) -> None:
    kernel, recurrent_kernel, bias = case.weights
    assert np.abs(kernel).max() < np.sqrt(6 / (1 + 4))  # Glorot's uniform bound: fan in 1, fan out 4
    norm = np.linalg.norm(recurrent_kernel.astype(np.float64))
    assert norm == pytest.approx(1, abs=5e-7)  # rounded to float32
    np.testing.assert_array_equal(bias, [0, 1, 0, 0])


def test_the_same_bits_on_keras() -> None:
    for case in seed_cases.CASES:
        plain, trainable = (seed_cases.run(case, namespace) for namespace in ("everystep", "everystep.keras"))
        assert plain.printed == trainable.printed == case.printed
        for a, b in zip(plain.outputs, trainable.outputs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_forbidden_packages_cannot_be_imported() -> None:
    code = "import seed_cases; seed_cases.forbid(['keras']); import everystep.keras"
    done = subprocess.run([sys.executable, "-c", code], cwd=EXAMPLES, capture_output=True, text=True)
    assert done.returncode != 0
    assert "keras must not be imported here" in done.stderr
