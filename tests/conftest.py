"""What all tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def programs_of_this_module() -> Iterator[None]:
    """What JAX has compiled for a module's tests goes with it.

    Every program maps some pages of its own, and a process may have 65,530 mappings: one that keeps the programs of all
    tests dies in the compiler.
    """
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()
