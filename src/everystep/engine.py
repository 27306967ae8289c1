"""The only importer of the native module: checks, allocates, calls.

Every function refuses an array of the wrong shape, dtype or layout by name; nothing is cast.
The equations are at the top of `engine/cells/*.h`; the contracts are in `engine/everystep.h`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from everystep import _engine
from everystep.cells import ACTIVATION_ALIASES, ACTIVATIONS, CELLS, Cell
from everystep.errors import DtypeError, OptionError, ShapeError

Array = NDArray[Any]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Outputs(NamedTuple):
    """What `run` returns.

    Attributes:
        h: the hidden state: (B,T,H) in processing order with `sequences`, else the last one, (B,H).
        states: the last states, (B,H) each, in the order of `Cell.states`.
        cells: the cell state at every step (B,T,H), with `cells`; else None.
        gates: every gate after its activation (B,T,G,H), 0 on masked steps, with `gates`; else None.
    """

    h: Array
    states: tuple[Array, ...]
    cells: Array | None
    gates: Array | None


class Gradients(NamedTuple):
    """What `run_backward` returns: the gradient of every float input, None for one not given."""

    x: Array
    states: tuple[Array, ...]
    kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    reset_states: tuple[Array, ...] | None
    dropout: Array | None
    recurrent_dropout: Array | None
