"""A way to decode, in a process of its own, for benchmarks/generate.py: `python decoder.py PEER CPU...`.

Tells its versions, then answers lines of JSON.
{"prepare": [folder, model, batch, method], "trial": seconds}
    tries each of its modes for so long, and keeps the fastest; its name, the seconds of a call, and the tokens
{"time": seconds}
    makes calls for so long, after some to warm up; the seconds of each
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from answers import serve
from decoding import Decoding
from timing import least, timed


def main() -> None:
    os.sched_setaffinity(0, map(int, sys.argv[2:]))  # before there are threads
    peer = importlib.import_module(f"decoders.{sys.argv[1]}")
    call: Any = None

    def answer(request: dict[str, Any]) -> Any:
        nonlocal call
        if "time" in request:
            return timed([call], request["time"])[0]
        tried = []
        for mode in getattr(peer, "MODES", ("",)):
            one = peer.prepare(Decoding(*request["prepare"], mode))
            tokens = one().tolist()  # compiles too
            tried.append((least(one, request["trial"]), mode, tokens, one))
        seconds, mode, tokens, call = min(tried, key=lambda one: one[0])
        return mode, seconds, tokens

    serve(peer.versions(), answer)


if __name__ == "__main__":
    main()
