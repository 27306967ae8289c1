"""The engine on this machine: its instruction set and its threads."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from everystep import _engine
from everystep.cells import ACTIVATIONS, CELLS
from everystep.engine.arrays import FLOATS
from everystep.errors import OptionError

MOST_THREADS = 256  # kMostThreads in engine/threads.h


def engine_info() -> dict[str, Any]:
    """What the engine is: its instruction set, its threads, the dtypes, cells and activations that it has."""
    return {
        "instruction_set": _engine.instruction_set(),
        "num_threads": _engine.num_threads(),
        "dtypes": tuple(dtype.name for dtype in FLOATS),
        "cells": tuple(CELLS),
        "activations": ACTIVATIONS,
    }


def set_num_threads(n: int) -> None:
    """How many threads a call of the engine may use, the caller's included; results do not depend on it.

    Raises:
        OptionError: n is no whole number from 1 to MOST_THREADS.
    """
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 1 <= n <= MOST_THREADS:
        raise OptionError(f"the number of threads must be a whole number from 1 to {MOST_THREADS}; got {n!r}")
    _engine.set_num_threads(int(n))


def check_environment() -> None:
    """The engine takes its own choice where an environment variable says what cannot be; the user should know."""
    instruction_set = os.environ.get("EVERYSTEP_INSTRUCTION_SET")
    if instruction_set and instruction_set != _engine.instruction_set():
        raise OptionError(
            f"EVERYSTEP_INSTRUCTION_SET is {instruction_set!r}, which this machine does not run: its best is "
            f"{_engine.instruction_set()!r}. Unset it, or choose 'avx512', 'avx2' or 'baseline' as the machine allows."
        )
    threads = os.environ.get("EVERYSTEP_NUM_THREADS")
    if threads and not (threads.isdecimal() and 1 <= int(threads) <= MOST_THREADS):
        raise OptionError(f"EVERYSTEP_NUM_THREADS must be a whole number from 1 to {MOST_THREADS}; got {threads!r}")
