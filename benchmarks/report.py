"""From measured times to tables: each figure beside the best peer and beside what the machine could do."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from problem import LAYERS, Shape

ROOT = Path(__file__).resolve().parent.parent

NAMES = {
    "engine": "everystep, NumPy",
    "keras_everystep": "everystep.keras, JAX",
    "pytorch": "PyTorch",
    "onnx_runtime": "ONNX Runtime",
    "keras_jax": "Keras on JAX",
}


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


def warn_if_busy() -> None:
    if os.getloadavg()[0] > 0.5:
        print("Other programs are busy on this machine: the times below are not to be trusted.", file=sys.stderr)


def circumstances(versions: dict[str, str], threads: int) -> dict[str, Any]:
    """When, where and of what it was measured."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    ours = {"python": platform.python_version(), "everystep": commit.stdout.strip() or "unknown"}
    today = datetime.date.today().isoformat()
    return dict(date=today, processor=processor(), threads=threads, versions=ours | versions)


def complete(
    layer: str, measured: list[dict[str, Any]], limits: list[dict[str, Any]], ours: Collection[str]
) -> dict[str, Any]:
    """Adds to each row what it means; `layer` is a key of LAYERS, `limits` what roofline.cc printed."""
    limit, G = limits[-1], len(LAYERS[layer].cell.gates)
    for row in measured:
        shape = Shape(*row["shape"])
        rivals = [
            other["median"]
            for other in measured
            if other["peer"] not in ours and (other["shape"], other["gradients"]) == (row["shape"], row["gradients"])
        ]
        work = shape.flops(G, row["gradients"])
        row["fma_peak"] = work / row["median"] / (limit["gflops"] * 1e9)
        row["roofline"] = least_seconds(shape, G, row["gradients"], limit) / row["median"]
        row["speed"] = min(rivals) / row["median"] if rivals else None
    return dict(layer=LAYERS[layer].name, limits=limits, rows=measured)


def least_seconds(shape: Shape, G: int, gradients: bool, limit: dict[str, Any]) -> float:
    """The roofline: no faster than its multiply-adds, nor than reading the recurrent kernel once for every step.

    The bandwidth is that of the smallest measured footprint that holds the recurrent kernel, all threads together. The
    backward pass reads it once more.
    """
    size = shape.recurrent_bytes(G)
    fits = [read for read in limit["read"] if read["bytes"] >= size] or limit["read"][-1:]
    bytes_read = (2 if gradients else 1) * shape.T * size
    return max(shape.flops(G, gradients) / (limit["gflops"] * 1e9), bytes_read / (fits[0]["gbps"] * 1e9))


def processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.machine()


def duration(seconds: float) -> str:
    unit, scale = next((unit for unit in (("s", 1), ("ms", 1e3)) if seconds * unit[1] >= 1), ("µs", 1e6))
    return f"{seconds * scale:.3g} {unit}"


def heading(title: str, found: dict[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return [
        f"# {title}",
        "",
        f"{found['date']}, {found['processor']}, {found['threads']} thread(s), float32. {versions}.",
        "",
    ]


def write(name: str, found: dict[str, Any], text: str) -> None:
    folder = ROOT / "docs" / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / f"{name}.md").write_text(text)


def markdown(found: dict[str, Any]) -> str:
    peaks = "; ".join(f"{limit['threads']} thread(s) {limit['gflops']:.0f} GFLOP/s" for limit in found["limits"])
    lines = [
        *heading(f"{found['layer']}: time for a call", found),
        "Median of all calls, and their quartiles. *Speed* is that of the fastest peer's median: 2 is twice as fast. "
        "*FMA peak* is the share of the multiply-adds a second that this machine was measured to do, *roofline* the "
        "share of the speed that these, and reading the recurrent kernel at every step, allow.",
        f"Measured multiply-adds: {peaks}.",
    ]
    tables: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in found["rows"]:
        tables.setdefault((*row["shape"], row["gradients"]), []).append(row)
    for (B, T, I, H, gradients), rows in tables.items():
        what = "forward and all gradients" if gradients else "forward"
        lines += [
            "",
            f"## B {B}, T {T}, I {I}, H {H}: {what}",
            "",
            f"| {'':20} |  median |      quartiles      | speed | FMA peak | roofline |",
            f"|:{'-' * 20}-|--------:|:-------------------:|------:|---------:|---------:|",
        ]
        for row in sorted(rows, key=lambda row: row["median"]):
            quartiles = " to ".join(map(duration, row["quartiles"]))
            speed = "" if row["speed"] is None else f"{row['speed']:.2f}"
            lines.append(
                f"| {NAMES[row['peer']]:20} | {duration(row['median']):>7} | {quartiles:^19} | {speed:>5} "
                f"| {row['fma_peak']:8.1%} | {row['roofline']:8.1%} |"
            )
    return "\n".join(lines) + "\n"
