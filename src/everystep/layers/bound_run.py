"""Runs of recurrent layers over whole sequences, on arrays that stay: as `bound` has it of steps.

Each function returns what the layer's run does, and the calls that write it there; None where something is to be
copied or turned around before the engine reads it. B batch, T time steps.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from everystep.engine import Bound
from everystep.layers.bidirectional import Bidirectional
from everystep.layers.recurrent import Recurrent
from everystep.layers.structure import flatten
from everystep.layers.together import bound_together


def bound_run(layer: Recurrent, call: dict[str, Any]) -> tuple[Any, list[Bound]] | None:
    if not _as_read([layer], call):
        return None
    (found,), calls = bound_together(layer.calls(*_arguments(call)))
    return layer.outputs_of(found), calls


def bound_both_ways(layer: Bidirectional, call: dict[str, Any]) -> tuple[Any, list[Bound]] | None:
    if layer.merge_mode != "concat" or layer.return_gates or layer.return_cell_sequences:
        return None
    if not _as_read(layer.inner, call):
        return None
    (forward, backward), calls = bound_together(*layer.calls(*_arguments(call)))
    outputs = flatten(layer.outputs_of(forward, backward))
    parts = [forward.h, backward.h[:, ::-1] if layer.return_sequences else backward.h]
    return outputs, [*calls, partial(np.concatenate, parts, axis=-1, out=outputs[0])]


def _arguments(call: dict[str, Any]) -> tuple[Any, ...]:
    return call["sequences"], None, *(call.get(name) for name in ("initial_state", "mask", "resets"))


def _as_read(layers: list[Any], call: dict[str, Any]) -> bool:
    """Whether all arrays are as the engine reads them."""
    x = call["sequences"]
    flags = [one for one in (call.get("mask"), call.get("resets")) if one is not None]
    states = [one for one in flatten(call.get("initial_state")) if one is not None]
    if flags and any(layer.go_backwards and layer.stacked for layer in layers):  # which turns them around
        return False
    return all(is_flags(one, *x.shape[:2]) for one in flags) and all(one.flags.c_contiguous for one in [x, *states])


def is_flags(flags: Any, *shape: int) -> bool:
    """Whether mask or resets are as the engine reads them."""
    return isinstance(flags, np.ndarray) and flags.shape == shape and flags.dtype == bool and flags.flags.c_contiguous
