"""The speed that this machine's multiply-adds, and reading the recurrent kernel at every step, allow."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from cases import Case
from problem import LAYERS
from report import ROOT


def measured(threads: int) -> list[dict[str, Any]]:
    """What roofline.cc prints: for one thread, then for all."""
    program = ROOT / "build" / "roofline"
    program.parent.mkdir(exist_ok=True)
    options = ["-std=c++20", "-O3", "-march=native", "-pthread"]
    source = ROOT / "benchmarks" / "roofline.cc"
    subprocess.run([os.environ.get("CXX", "c++"), *options, source, "-o", program], check=True)
    printed = subprocess.run([program, str(threads)], check=True, capture_output=True).stdout
    found: list[dict[str, Any]] = json.loads(printed)
    return found


def best(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The higher of each pair of limits, from two runs of roofline.cc."""
    return [
        dict(
            threads=x["threads"],
            gflops=max(x["gflops"], y["gflops"]),
            read=[p if p["gbps"] > q["gbps"] else q for p, q in zip(x["read"], y["read"], strict=True)],
        )
        for x, y in zip(a, b, strict=True)
    ]


def bandwidth(footprint: int, limit: dict[str, Any]) -> float:
    """Bytes a second when all threads together read so many bytes again and again, each its own share of them.

    The highest that was measured with a footprint of at least this size: what is smaller cannot be slower to read,
    however the measurement came out. Beyond the largest, the largest's.
    """
    rates = [read["gbps"] for read in limit["read"] if read["bytes"] >= footprint] or [limit["read"][-1]["gbps"]]
    return 1e9 * float(max(rates))


def least_seconds(case: Case, limits: list[dict[str, Any]]) -> float:
    """No call on all threads is faster than its multiply-adds, nor than reading the recurrent kernel (H,GH) once for
    every step, and once more for every step back. A thread reads the columns of its own units: a share of the whole.
    """
    limit = limits[-1]
    size = case.shape.recurrent_bytes(len(LAYERS[case.cell].cell.gates))
    reads = (2 if case.gradients else 1) * case.shape.T
    return max(case.flops() / (limit["gflops"] * 1e9), reads * size / bandwidth(size, limit))
