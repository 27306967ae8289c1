"""Faults in what benchmarks make of measured times."""

from __future__ import annotations

from fault import Fault

RESULTS = ("tests/benchmarks/test_results.py",)

BENCHMARK_FAULTS = [
    Fault(
        "benchmarks: our own layer under Keras counts as a peer",
        "benchmarks/comparison.py",
        "(peer for peer in self.rows if peer not in OURS)",
        '(peer for peer in self.rows if peer != "engine")',
        RESULTS,
    ),
    Fault(
        "benchmarks: a mean of speeds is arithmetic",
        "benchmarks/comparison.py",
        "exp(sum(map(log, speeds)) / len(speeds))",
        "sum(speeds) / len(speeds)",
        RESULTS,
    ),
    Fault(
        "benchmarks: the bandwidth is of the smallest footprint",
        "benchmarks/roofline.py",
        'if read["bytes"] >= footprint]',
        'if read["bytes"] > 0]',
        RESULTS,
    ),
    Fault(
        "benchmarks: a later run takes the place of single rows",
        "benchmarks/results.py",
        "if row.case not in again",
        "if (row.case, row.peer) not in {(one.case, one.peer) for new_run in new.runs for one in new_run.rows}",
        RESULTS,
    ),
    Fault(
        "benchmarks: what is slower is not marked",
        "benchmarks/tables.py",
        "if float(text) < 1 else",
        "if float(text) < 0.9 else",
        RESULTS,
    ),
    Fault(
        "benchmarks: a slow peer's turns come all at first",
        "benchmarks/contest.py",
        "return (round + 1) * turns // rounds > round * turns // rounds",
        "return round < turns",
        RESULTS,
    ),
]
