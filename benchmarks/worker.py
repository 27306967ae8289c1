"""A peer in a process of its own: `python worker.py PEER` tells its versions, then answers requests in lines of JSON.

{"prepare": [B, T, I, H], "gradients": false, "save": path}  makes one call; its results go into an .npz file
{"time": seconds}                                            makes calls for about that long; the seconds of each
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from problem import Problem, Shape


def timed(call: Callable[[], Any], limit: float) -> list[float]:
    """The seconds of each call, the first ones left out: caches and threads are cold then."""
    for warm in (True, False):
        taken: list[float] = []
        end = time.perf_counter() + (limit / 5 if warm else limit)
        while not taken or time.perf_counter() < end:
            start = time.perf_counter_ns()
            call()
            taken.append((time.perf_counter_ns() - start) * 1e-9)
    return taken


def main() -> None:
    peer = importlib.import_module(f"peers.{sys.argv[1]}")
    out, sys.stdout = sys.stdout, sys.stderr  # only answers go to the pipe
    answer: Any = peer.versions()
    while True:
        print(json.dumps(answer), file=out, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        request = json.loads(line)
        if "prepare" in request:
            call, arrays = peer.prepare(Problem(Shape(*request["prepare"])), request["gradients"])
            np.savez(request["save"], **arrays(call()))
            answer = "ready"
        else:
            answer = timed(call, request["time"])


if __name__ == "__main__":
    main()
