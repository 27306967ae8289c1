"""Few shapes for sequences of many lengths, so that XLA compiles few programs and little of them is padding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.intp]


def bucketed(lengths: Ints, most: int) -> tuple[Ints, Ints]:
    """Groups of rows that are padded to one shape each: those, of at most so many, with the least padding in all.

    Rows are sorted by the sum of their lengths, and cut where their padded steps, over both sides, are fewest; each
    shape is as long as the longest of its rows and of those before, so that a row fits into every later group too.

    Args:
        lengths: (N,2), of source and target, N from 1 on.
        most: groups.

    Returns:
        (N) the group of each row, from 0 on, and (K,2) the shape of each group, K <= most.
    """
    order = np.argsort(lengths.sum(axis=1), kind="stable")
    longest = np.maximum.accumulate(lengths[order], axis=0)
    # A cut between rows of one shape saves nothing: of each shape the last row.
    ends = np.flatnonzero(np.append(np.any(longest[1:] != longest[:-1], axis=1), True)) + 1
    cuts = best_cuts(ends, longest[ends - 1].sum(axis=1), most)
    group = np.empty(len(lengths), np.intp)
    group[order] = np.searchsorted(cuts, np.arange(len(lengths)), side="right")
    return group, longest[cuts - 1]


def best_cuts(ends: Ints, steps: Ints, most: int) -> Ints:
    """Where to end the groups, some of `ends` with its last one, so that all steps are fewest.

    A group from row a to row b has (b - a) times the steps at b. By dynamic programming: fewest[j] is of the rows up to
    ends[j] in as many groups as there were rounds.

    Args:
        ends: (M) ascending, numbers of rows. steps: (M), of a row that is padded to the shape at that end.
        most: groups.
    """
    M = len(ends)
    fewest = ends * steps
    before: list[Ints] = []
    for _ in range(min(most, M) - 1):
        came = np.full(M, -1)  # -1: no cut, as good as any
        found = fewest.copy()
        for j in range(1, M):
            costs = fewest[:j] + (ends[j] - ends[:j]) * steps[j]
            i = int(costs.argmin())
            if costs[i] < found[j]:
                found[j], came[j] = costs[i], i
        before.append(came)
        fewest = found
    cuts, j = [M - 1], M - 1
    for came in reversed(before):
        if came[j] >= 0:
            j = int(came[j])
            cuts.append(j)
    return ends[cuts[::-1]]
