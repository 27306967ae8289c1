"""Times recurrent layers forward, and forward with all gradients, beside their peers: `make bench`.

Measures the cases of cases.py, keeps the figures in benchmarks/results, and writes the table and the chart of
docs/benchmarks and the README's table. A run of some cases renews these alone in the day's file; a quick one, or one
of some peers or on fewer threads, is printed and not kept.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import sys
from pathlib import Path

import contest
import pages
import report
import results
import roofline
import tables
from cases import Case, chosen
from comparison import compared, is_large
from problem import LAYERS, Shape
from report import NAMES, ROOT
from results import Results, Row, Run
from tqdm import tqdm

MEMORY = {"kept": contest.KEPT_MEMORY, "as it is": {}}


def machine(threads: int, memory: str) -> dict[str, object]:
    from everystep.engine import engine_info

    found: dict[str, object] = dict(processor=report.processor(), threads=threads)
    found["instruction set"] = engine_info()["instruction_set"]
    for cache in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((cache / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            found[f"L{level}"] = size
    return found | {"freed memory": memory}


def measured(cases: list[Case], names: list[str], threads: int, memory: str, quick: bool) -> Run:
    effort = contest.QUICK if quick else contest.FULL
    cpus = sorted(os.sched_getaffinity(0))[:threads]
    report.warn_if_busy()
    limits = roofline.measured(threads)
    rows: list[Row] = []
    with contextlib.ExitStack() as stack:
        peers = []
        for name in tqdm(names, desc="starting", disable=None, leave=False):
            peers.append(contest.Peer(name, cpus, MEMORY[memory], effort))
            stack.callback(peers[-1].close)
        versions = contest.versions(peers)
        progress = tqdm(cases, disable=None)
        for case in progress:
            progress.set_description(f"{LAYERS[case.cell].name} {case.shape.text} {case.what}")
            rows += contest.measure(peers, case, effort)
    limits = roofline.best(limits, roofline.measured(threads))
    command = f"make bench BENCH_ARGS={shlex.quote(shlex.join(sys.argv[1:]))}" if sys.argv[1:] else "make bench"
    return Run(report.today(), command, report.commit(), versions, limits, rows)


def path_of_today() -> Path:
    processor = re.sub(r"[^a-z0-9]+", "-", report.processor().lower()).strip("-")
    return ROOT / "benchmarks" / "results" / f"{report.today()}-{processor}.json"


def options() -> argparse.Namespace:
    available = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", nargs="+", default=list(LAYERS), choices=LAYERS)
    parser.add_argument("--shapes", nargs="+", type=Shape.read, metavar="B,T,I,H")
    parser.add_argument("--peers", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--passes", nargs="+", default=["forward", "gradients"], choices=("forward", "gradients"))
    parser.add_argument("--threads", type=int, default=available, help="the CPUs that each peer may take")
    parser.add_argument("--memory", default="kept", choices=MEMORY, help="what becomes of memory that a call frees")
    parser.add_argument("--quick", action="store_true", help="few calls: a look, no measurement")
    parser.add_argument("--into", type=Path, metavar="FILE", help="keep the figures in this file, whatever the run was")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="source", help="measure nothing: write it all anew")
    arguments = parser.parse_args()
    if not 1 <= arguments.threads <= available:
        parser.error(f"--threads {arguments.threads}: this process may use 1 to {available} CPUs")
    arguments.complete = len(arguments.peers) == len(NAMES) and arguments.threads == available and not arguments.quick
    return arguments


def main() -> None:
    arguments = options()
    if arguments.source:
        write_pages(results.load(arguments.source), arguments.source)
        return
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])  # as engine_info counts them
    passes = [name == "gradients" for name in arguments.passes]
    cases = chosen(arguments.cell, arguments.shapes, passes)
    path = arguments.into or (path_of_today() if arguments.complete else None)
    found = Results(machine(arguments.threads, arguments.memory), [])
    if path and path.exists():
        found = results.merged(results.load(path), found)  # before anything is measured, if it is of another machine
    run = measured(cases, arguments.peers, arguments.threads, arguments.memory, arguments.quick)
    new = compared(Results(found.machine, [run]))
    print("\n".join(tables.times(new) + (["", *tables.means(new)] if any(is_large(one.case) for one in new) else [])))
    if path:
        found = results.merged(found, Results(found.machine, [run]))
        results.save(found, path)
        if arguments.into is None:
            write_pages(found, path)


def write_pages(found: Results, path: Path) -> None:
    path = path.resolve()
    if not path.is_relative_to(ROOT):
        raise SystemExit(f"{path} is not in the project, and pages are to link to it: copy it to benchmarks/results")
    pages.write(found, str(path.relative_to(ROOT)))
    print(f"written: {path.relative_to(ROOT)}, docs/benchmarks/README.md, docs/benchmarks/chart.png, README.md")


if __name__ == "__main__":
    main()
