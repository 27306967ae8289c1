"""What must come of any file: a model, which then runs, or an error of everystep's own; in bounded memory and time."""

from __future__ import annotations

import math
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

import everystep
from everystep.errors import EverystepError

ROOM = 1 << 28  # bytes of memory beyond what the process has
SECONDS = 5.0  # of processor time for a load; a sanitizer, or the fuzzer's tracing, is part of that
LARGEST = 10_000  # numbers in an array of a model that is run


class Finding(AssertionError):
    """A file that broke the loader."""


def outcome(path: Path) -> str:
    """What became of the file: "ran", "loaded, too large to run", or an error's class.

    Raises:
        Finding: it took too long. Any other error but `EverystepError` passes through and is a finding too, MemoryError
            among them.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    start = time.process_time()
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, before[1]))
    try:
        return _outcome(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        if time.process_time() - start > SECONDS:
            raise Finding(f"it took {time.process_time() - start:.1f} seconds")


def _outcome(path: Path) -> str:
    try:
        model = everystep.load_model(path, max_bytes=1 << 24)
    except EverystepError as error:
        return f"load: {type(error).__name__}"
    if largest(model) > LARGEST:
        return "loaded, too large to run"
    try:
        model.predict([zeros(tensor) for tensor in model.inputs])
    except EverystepError as error:
        return f"run: {type(error).__name__}"
    return "ran"


def size(shape: Any) -> tuple[int, ...]:
    """A shape in which what is not known is 2."""
    return tuple(2 if side is None else side for side in shape)


def largest(model: everystep.Model) -> int:
    """How many numbers the largest array in a run has: a weight, an input, or what a layer returns."""
    arrays = [tensor.shape for node in model.graph.nodes for tensor in node.outputs]
    inner = [largest(layer) for layer in model.layers if isinstance(layer, everystep.Model)]
    return max([math.prod(size(shape)) for shape in arrays] + [weight.size for weight in model.weights] + inner)


def zeros(tensor: Any) -> np.ndarray:
    return np.zeros(size(tensor.shape), tensor.dtype)
