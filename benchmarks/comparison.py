"""What the times of one case mean beside each other and beside the roofline, and means over cases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from math import exp, log
from typing import Any

from cases import ALL, Case
from report import OURS
from results import Results, Row
from roofline import best, least_seconds


@dataclass(frozen=True)
class Comparison:
    case: Case
    rows: dict[str, Row]  # by peer
    limits: list[dict[str, Any]]

    def best_peer(self) -> str:
        """The fastest of those that are not ours."""
        return min((peer for peer in self.rows if peer not in OURS), key=lambda peer: self.rows[peer].median)

    def speed(self, peer: str, other: str | None = None) -> float:
        """How many times as fast as another peer: as the best one, if none is named."""
        return self.rows[other or self.best_peer()].median / self.rows[peer].median

    def roofline(self) -> float:
        """The speed, beside the best peer, of a call that does what the machine can do."""
        return self.rows[self.best_peer()].median / least_seconds(self.case, self.limits)

    def share(self, peer: str) -> float:
        """Of the speed that the roofline allows."""
        return least_seconds(self.case, self.limits) / self.rows[peer].median


def compared(results: Results) -> list[Comparison]:
    """In the order of cases.ALL; others after them. Cases that lack the engine, or have no peer of it, are left out."""
    found, limits = [], machine_limits(results)
    for run in results.runs:
        cases: dict[Case, dict[str, Row]] = {}
        for row in run.rows:
            cases.setdefault(row.case, {})[row.peer] = row
        found += [Comparison(case, rows, limits) for case, rows in cases.items()
                  if "engine" in rows and not rows.keys() <= set(OURS)]  # fmt: skip
    places = {case: place for place, case in enumerate(ALL)}
    return sorted(found, key=lambda one: places.get(one.case, len(places)))


def machine_limits(results: Results) -> list[dict[str, Any]]:
    """The highest that any of the runs saw: the machine is the same in all, and what else it does differs."""
    return reduce(best, (run.limits for run in results.runs))


def mean_speed(found: Iterable[Comparison], peer: str, other: str | None = None) -> float | None:
    """The geometric mean over the cases that both have; None if there are none."""
    speeds = [one.speed(peer, other) for one in found if peer in one.rows and (other is None or other in one.rows)]
    return exp(sum(map(log, speeds)) / len(speeds)) if speeds else None


def is_large(case: Case) -> bool:
    """A batch of 32 or more, on a layer of 256 to 1,024 units."""
    return case.shape.B >= 32 and 256 <= case.shape.H <= 1024
