"""A peer in a process of its own: `python worker.py PEER CPU...` tells its versions, then answers lines of JSON.

{"prepare": "gru", "shape": [B, T, I, H], "gradients": false, "save": path, "trial": 0.1, "modes": null}
    tries each of the peer's modes, or as many as are asked for, for so many seconds, and keeps the fastest; its results
    go into an .npz; the answer is its name and the seconds that a call took
{"time": seconds, "cold": false}
    makes calls for so long, after some to warm up unless it may be cold; the answer is the seconds of each
"""

import importlib
import os
import sys
from typing import Any

import numpy as np
from answers import serve
from problem import LAYERS, Problem, Shape
from timing import least, timed


def fastest(peer: Any, problem: Problem, request: dict[str, Any]) -> tuple[Any, Any, str, float]:
    """The call, its results in NumPy, the mode's name, and the seconds of a call."""
    tried = []
    for mode in getattr(peer, "MODES", ("",))[: request["modes"]]:
        options = {"mode": mode} if mode else {}
        call, arrays = peer.prepare(problem, request["gradients"], **options)
        results = call()
        tried.append((call, arrays(results), mode, least(call, request["trial"])))
    return min(tried, key=lambda one: one[-1])


def main() -> None:
    os.sched_setaffinity(0, map(int, sys.argv[2:]))  # before there are threads
    peer = importlib.import_module(f"peers.{sys.argv[1]}")
    call: Any = None

    def answer(request: dict[str, Any]) -> Any:
        nonlocal call
        if "prepare" not in request:
            return timed([call], request["time"], request["cold"])[0]
        problem = Problem(LAYERS[request["prepare"]], Shape(*request["shape"]))
        call, arrays, mode, seconds = fastest(peer, problem, request)
        np.savez(request["save"], **dict(zip(problem.names, arrays, strict=False)))
        return [mode, seconds]

    serve(peer.versions(), answer)


if __name__ == "__main__":
    main()
