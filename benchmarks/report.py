"""From measured times to tables: each figure beside the best peer and beside what the machine could do."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Collection
from typing import Any

from problem import Shape

NAMES = {
    "engine": "everystep, NumPy",
    "keras_everystep": "everystep.keras, JAX",
    "torch_lstm": "torch.nn.LSTM",
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


def complete(
    measured: list[dict[str, Any]], limits: list[dict[str, Any]], versions: dict[str, str], threads: int,
    ours: Collection[str],
) -> dict[str, Any]:  # fmt: skip
    """Adds to each row what it means; `limits` is what roofline.cc printed."""
    limit = limits[-1]
    for row in measured:
        shape = Shape(*row["shape"])
        rivals = [
            other["median"]
            for other in measured
            if other["peer"] not in ours and (other["shape"], other["gradients"]) == (row["shape"], row["gradients"])
        ]
        work = shape.flops(row["gradients"])
        row["fma_peak"] = work / row["median"] / (limit["gflops"] * 1e9)
        row["roofline"] = least_seconds(shape, row["gradients"], limit) / row["median"]
        row["speed"] = min(rivals) / row["median"] if rivals else None
    return dict(
        date=datetime.date.today().isoformat(),
        processor=processor(),
        threads=threads,
        versions={"python": platform.python_version(), **versions},
        limits=limits,
        rows=measured,
    )


def least_seconds(shape: Shape, gradients: bool, limit: dict[str, Any]) -> float:
    """The roofline: no faster than its multiply-adds, nor than reading the recurrent kernel once for every step.

    The bandwidth is that of the smallest measured footprint that holds the recurrent kernel, all threads together. The
    backward pass reads it once more.
    """
    size = shape.recurrent_bytes()
    fits = [read for read in limit["read"] if read["bytes"] >= size] or limit["read"][-1:]
    bytes_read = (2 if gradients else 1) * shape.T * size
    return max(shape.flops(gradients) / (limit["gflops"] * 1e9), bytes_read / (fits[0]["gbps"] * 1e9))


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


def markdown(found: dict[str, Any]) -> str:
    peaks = "; ".join(f"{limit['threads']} thread(s) {limit['gflops']:.0f} GFLOP/s" for limit in found["limits"])
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [
        "# LSTM: time for a call",
        "",
        f"{found['date']}, {found['processor']}, {found['threads']} thread(s), float32. {versions}.",
        "",
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
