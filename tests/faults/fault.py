"""A fault, and the tests that should notice it."""

from __future__ import annotations

from typing import NamedTuple

ENGINE = tuple(f"tests/engine/test_engine_{part}.py" for part in ("gradients", "values", "bits", "together", "process"))
ACTIVATIONS = ("tests/engine/test_engine_activations.py",)
ERRORS = ("tests/engine/test_engine_errors.py",)
ORACLE = ("tests/test_equations.py",)
KERAS = tuple(f"tests/keras/test_keras_{part}.py" for part in ("route", "additions", "recurrent"))

FORWARD, BACKWARD = "engine/sequence_forward.h", "engine/sequence_backward.h"


class Fault(NamedTuple):
    what: str
    file: str
    old: str  # stands exactly once in the file
    new: str  # takes its place
    tests: tuple[str, ...] = ENGINE
