"""Every instruction set that this machine has, and that the other tests do not run under, passes a part of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import engine_cases
import pytest

from everystep import engine

HERE = Path(__file__).parent
FILES = ("instruction_sets", "values", "gradients", "bits", "together", "activations")
# What depends on the lanes: every shape, option and activation, tiles and panels, threads, rows, cuts, runs together,
# 2 ulp.
TESTS = (
    "takes_the_best or every_shape or every_pair or large or product or test_threads or every_batch or every_cut "
    "or two_ulp or slopes or left_behind or two_directions"
)
OTHERS = [name for name in engine_cases.instruction_sets() if name != engine.engine_info()["instruction_set"]]


@pytest.mark.skipif("EVERYSTEP_INSTRUCTION_SET" in os.environ, reason="this is such a run")
@pytest.mark.parametrize("name", OTHERS)
def test_under(name: str) -> None:
    environment = dict(os.environ, EVERYSTEP_INSTRUCTION_SET=name, EVERYSTEP_TEST_SHARE="0.2")
    environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    files = [str(HERE / f"test_engine_{part}.py") for part in FILES]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", TESTS, *files]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=HERE.parents[1], check=False)
    assert found.returncode == 0, found.stdout[-4000:]


def test_the_engine_takes_the_best() -> None:
    wanted = os.environ.get("EVERYSTEP_INSTRUCTION_SET", engine_cases.instruction_sets()[0])
    assert engine.engine_info()["instruction_set"] == wanted
