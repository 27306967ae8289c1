"""A library's runs of float32, for benchmarks/accuracy.py: `python errors.py PEER`.

Reads requests, lines of JSON: {"layer": "gru", "memory": "long", "T": 100, "gradients": false, "save": path}. Each is
answered with a line, when the results are in the .npz at the path.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
from answers import serve
from problem import LAYERS, Problem, Shape

B, I, H = 4, 32, 64
REMEMBERS = 6.0  # bias of a gate that keeps the state: sigmoid(6) = 0.9975, so an error fades in some 400 steps
WEAKER = 0.2  # recurrent kernel, relative: a stronger one blows up any error, in every library, until nothing is right

# Which gate keeps the state: of an LSTM f, of a GRU z (Keras's: h = z h + (1 - z) g). A SimpleRNN has none.
KEEPS = {"lstm": 1, "gru": 0}


def problem(layer: str, memory: str, T: int) -> Problem:
    """The benchmarks' layer, whose states fade within a few steps, or, with a long memory, one whose states stay."""
    found = Problem(LAYERS[layer], Shape(B, T, I, H))
    if memory == "long":
        gate = slice(KEEPS[layer] * H, (KEEPS[layer] + 1) * H)
        _, recurrent_kernel, bias = found.weights
        recurrent_kernel *= np.float32(WEAKER)
        (bias if bias.ndim == 1 else bias[0])[gate] = REMEMBERS
    return found


def main() -> None:
    peer = importlib.import_module(f"peers.{sys.argv[1]}")

    def answer(request: dict[str, Any]) -> str:
        p = problem(request["layer"], request["memory"], request["T"])
        call, arrays = peer.prepare(p, request["gradients"])
        np.savez(request["save"], **dict(zip(p.names, arrays(call()), strict=False)))
        return "saved"

    serve(peer.versions(), answer)


if __name__ == "__main__":
    main()
