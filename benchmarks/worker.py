"""A peer in a process of its own: `python worker.py PEER` tells its versions, then answers requests in lines of JSON.

{"prepare": "gru", "shape": [B, T, I, H], "gradients": false, "save": path}  makes a call; its results go into an .npz
{"time": seconds}                                                             makes calls for so long; their seconds
"""

import importlib
import json
import sys
from typing import Any

import numpy as np
from problem import LAYERS, Problem, Shape
from timing import timed


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
            problem = Problem(LAYERS[request["prepare"]], Shape(*request["shape"]))
            call, arrays = peer.prepare(problem, request["gradients"])
            np.savez(request["save"], **dict(zip(problem.names, arrays(call()), strict=False)))
            answer = "ready"
        else:
            (answer,) = timed([call], request["time"])


if __name__ == "__main__":
    main()
