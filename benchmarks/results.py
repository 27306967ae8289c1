"""What was measured, in a file: a machine, and its runs; a later run takes the place of what it measured again."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from cases import Case
from problem import Shape


class Row(NamedTuple):
    """One peer's calls of one case, in seconds."""

    case: Case
    peer: str  # a key of report.NAMES
    threads: int  # the CPUs that it had
    mode: str
    calls: int
    low: float  # quartiles
    median: float
    high: float


@dataclass(frozen=True)
class Run:
    """What was measured together, and what the machine could do meanwhile."""

    date: str
    command: str
    commit: str
    versions: dict[str, str]
    limits: list[dict[str, Any]]  # what roofline.cc prints
    rows: list[Row]


@dataclass(frozen=True)
class Results:
    machine: dict[str, Any]
    runs: list[Run]


def merged(old: Results, new: Results) -> Results:
    """Both; a case that `new` has is taken whole from there, since its figures only go with each other."""
    if old.machine != new.machine:  # its number of threads, and what becomes of freed memory, included
        raise ValueError(f"these results are of another machine:\n{old.machine}\nand this is\n{new.machine}")
    again = {row.case for run in new.runs for row in run.rows}
    kept = [replace(run, rows=[row for row in run.rows if row.case not in again]) for run in old.runs]
    return Results(new.machine, [run for run in (*kept, *new.runs) if run.rows])


def save(results: Results, path: Path) -> None:
    runs = []
    for run in results.runs:
        rows = []
        for row in run.rows:
            cell, shape, gradients = row.case
            figures = row._asdict()
            del figures["case"]
            rows.append(dict(cell=cell, shape=shape.text, gradients=gradients) | figures)
        runs.append(vars(run) | dict(rows=rows))
    text = json.dumps(dict(machine=results.machine, runs=runs), indent=1)
    # What holds no other list or object goes on one line.
    text = re.sub(r"[\[{][^\[\]{}]*[\]}]", lambda one: re.sub(r"\n *", " ", one[0]), text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def load(path: Path) -> Results:
    found = json.loads(path.read_text())
    runs = []
    for run in found["runs"]:
        rows = []
        for row in run["rows"]:
            case = Case(row.pop("cell"), Shape.read(row.pop("shape")), row.pop("gradients"))
            rows.append(Row(case, **row))
        runs.append(Run(**run | dict(rows=rows)))
    return Results(found["machine"], runs)
