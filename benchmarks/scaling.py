"""Time a step and memory of the LSTM over T, B, H and the number of threads, on the engine from NumPy: `make scaling`.

Writes docs/benchmarks/scaling.md, .json and .png. Each point is a process of its own: its peak memory counts from where
its inputs and packed weights are in place.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import report
from problem import LAYERS, Problem, Shape
from report import ROOT
from tqdm import tqdm

I = 32
WHAT = {
    "sequence": "forward, h of every step",
    "last": "forward, last h alone",
    "gradients": "forward and gradients",
    "kept": "the same, memory kept",  # the allocator gives nothing back to the system between calls
}
KEEP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}  # as glibc's allocator is told so


class Point(NamedTuple):
    B: int
    T: int
    H: int
    threads: int
    what: str  # a key of WHAT


class Series(NamedTuple):
    over: str  # the letter that grows
    title: str
    points: list[Point]


def all_series(quick: bool) -> list[Series]:
    threads = (1, len(os.sched_getaffinity(0)))
    longest = 5 if quick else 6
    both = ("sequence", "gradients")
    return [
        Series("T", f"B 1, I {I}, H 64, 1 thread",
               [Point(1, 10**e, 64, 1, what) for what in WHAT for e in range(2, longest + 1)]),
        Series("B", f"T 100, I {I}, H 64",
               [Point(4**e, 100, 64, n, what) for what in both for n in threads for e in range(6 - quick)]),
        Series("H", f"B 1, T 100, I {I}",
               [Point(1, 100, 2**e, n, what) for what in both for n in threads for e in range(5, 11 - quick)]),
    ]  # fmt: skip


# ---- A point, in its own process ----


def call_of(point: Point) -> Callable[[], Any]:
    from everystep import engine

    engine.set_num_threads(point.threads)
    p = Problem(LAYERS["lstm"], Shape(point.B, point.T, I, point.H))
    packed = engine.pack("lstm", *p.weights)

    def forward() -> Any:
        return engine.run(packed, p.x, p.states, sequences=point.what == "sequence")

    def both() -> Any:
        out = engine.run(engine.pack("lstm", *p.weights), p.x, p.states, record=True)
        assert out.record is not None
        return engine.run_backward(out.record, *p.weights, d_h=p.d_h)

    return both if point.what in ("gradients", "kept") else forward


def resident(name: str) -> int:
    """VmRSS: what the process holds in memory. VmHWM: the most that it did since that was reset. In bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def measure(point: Point, seconds: float) -> dict[str, float]:
    from timing import timed

    call = call_of(point)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what there is
    before = resident("VmRSS")
    out = call()
    peak = resident("VmHWM") - before
    del out
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    (taken,) = timed([call], seconds)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    low, median, high = (np.quantile(taken, (0.25, 0.5, 0.75)) / point.T).tolist()
    return dict(step=median, low=low, high=high, peak=peak, calls=len(taken), faults=faults / len(taken))


def in_its_own(point: Point, seconds: float) -> dict[str, Any]:
    seconds *= 4 if point.T >= 1_000_000 else 1  # a few calls there too
    command = [sys.executable, __file__, "--point", json.dumps(point), "--seconds", str(seconds)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")} | (KEEP if point.what == "kept" else {})
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{point} failed with exit status {done.returncode}; its last words are above")
    return point._asdict() | json.loads(done.stdout)


# ---- The page ----


def markdown(found: dict[str, Any]) -> str:
    lines = [
        *report.heading("How time and memory grow", found),
        "Written by `make scaling`. The LSTM on the engine, from NumPy. Time is the median of calls, divided by T; "
        "memory is the most that a call needs beyond its inputs and packed weights, its outputs included, as the "
        "system counts it, in a process of its own.",
        "",
        "![Time a step and memory against T, B and H](scaling.png)",
        "",
        constant(found["series"][0]["rows"]),
    ]
    for series in found["series"]:
        lines += ["", f"## Over {series['over']}: {series['title']}", "", *table(series)]
    return "\n".join(lines) + "\n"


def constant(rows: list[dict[str, Any]]) -> str:
    """How the time a step at the longest T is to that at T 1,000, and what the system's part in it is."""
    sentences = []
    for what, name in WHAT.items():
        of = {row["T"]: row for row in rows if row["what"] == what}
        last = of[max(of)]
        sentences.append(
            f"{name}: {last['step'] / of[1000]['step']:.2f} times ({report.duration(last['step'])}; "
            f"{last['faults']:,.0f} page faults a call)"
        )
    return (
        f"A step at T {max(of):,} takes, relative to one at T 1,000: {'; '.join(sentences)}. What is written at every "
        "step leaves the caches as T grows, and comes as fresh pages from the system, which it must clear: gradients "
        "record 1.5 kB a step of this layer. Where the allocator keeps its memory from call to call, that part "
        "of the cost is gone."
    )


def table(series: dict[str, Any]) -> list[str]:
    over, rows = series["over"], series["rows"]
    columns = list(dict.fromkeys((row["what"], row["threads"]) for row in rows))
    several = len({threads for _, threads in columns}) > 1

    def head(what: str, threads: int) -> str:
        return WHAT[what] + (f", {threads} thread{'s' if threads > 1 else ''}" if several else "")

    lines = [
        f"| {over} |{'|'.join(f' {head(*column)} ' for column in columns)}|",
        f"|--:|{'--:|' * len(columns)}",
    ]
    for value in dict.fromkeys(row[over] for row in rows):
        of = {(row["what"], row["threads"]): row for row in rows if row[over] == value}
        fields = (report.duration(of[c]["step"]) + memory(of[c]) for c in columns)
        lines.append(f"| {value:,} | {' | '.join(fields)} |")
    return lines


def memory(row: dict[str, Any]) -> str:
    """Not known where memory is kept: a call's is what others left."""
    return "" if row["what"] == "kept" else f" · {size(row['peak'])}"


def size(count: float) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{max(0, count) / 1e3:.0f} kB"


# ---- The chart ----

COLORS = {"sequence": "#1f5fbf", "last": "#3b9b5c", "gradients": "#e8743b", "kept": "#a04bb5"}


def draw(found: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(14, 8), layout="constrained")
    for column, series in enumerate(found["series"]):
        rows, over = series["rows"], series["over"]
        most = max(row["threads"] for row in rows)
        for what, threads in dict.fromkeys((row["what"], row["threads"]) for row in rows):
            of = [row for row in rows if (row["what"], row["threads"]) == (what, threads)]
            label = WHAT[what] + (f", {threads} thread{'s' if threads > 1 else ''}" if most > 1 else "")
            look = dict(color=COLORS[what], ls="-" if threads == 1 else "--", marker="o", ms=4, label=label)
            axes[0, column].plot([row[over] for row in of], [row["step"] * 1e6 for row in of], **look)
            if threads == most and what != "kept":
                axes[1, column].plot([row[over] for row in of], [max(row["peak"], 4096) / 1e6 for row in of], **look)
        axes[0, column].set_title(f"time a step: {series['title']}", fontsize=11)
        axes[1, column].set_title(f"memory of a call: {series['title']}", fontsize=11)
        for axis, unit in zip(axes[:, column], ("µs", "MB"), strict=True):
            axis.set(xscale="log", yscale="log", xlabel=over, ylabel=unit)
            axis.set_xticks(values := sorted({row[over] for row in rows}), [f"{value:,}" for value in values])
            axis.minorticks_off()
    axes[0, 0].set_ylim(0.1, 10)
    for axis in axes.flat:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=9, loc="upper left")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few calls and no longest T: a look; writes nothing")
    parser.add_argument("--draw", metavar="PATH", type=Path, help="draw a chart there too")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=1.0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.point:
        print(json.dumps(measure(Point(*json.loads(arguments.point)), arguments.seconds)))
        return
    report.warn_if_busy()
    seconds = 0.05 if arguments.quick else 0.8
    series = all_series(arguments.quick)
    with tqdm(total=sum(len(one.points) for one in series), disable=None) as progress:

        def row(point: Point) -> dict[str, Any]:
            found = in_its_own(point, seconds)
            progress.update()
            return found

        rows = [dict(over=one.over, title=one.title, rows=[row(point) for point in one.points]) for one in series]
    found = report.circumstances({"numpy": np.__version__}, len(os.sched_getaffinity(0))) | dict(series=rows)
    print(markdown(found))
    if not arguments.quick:
        report.write("scaling", found, markdown(found))
        draw(found, ROOT / "docs" / "benchmarks" / "scaling.png")
    if arguments.draw:
        draw(found, arguments.draw)


if __name__ == "__main__":
    main()
