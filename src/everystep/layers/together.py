"""Runs of recurrent layers side by side: what one run asks of the engine, and making several of them at once."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

from everystep import engine
from everystep.engine import Array


class Found(NamedTuple):
    """What a run finds, before it is put in order.

    Attributes:
        h: the output, of the last cell.
        states: the last states of each cell.
        cells: c at every step, of each cell that has one, if asked for.
        gates: of each cell, if asked for.
    """

    h: Array
    states: list[tuple[Array, ...]]
    cells: list[Array]
    gates: list[Array]

    def above(self, one: Any) -> Found:
        """This, with what the next cell on top of these made of h: engine's `Outputs`, or the like of a step."""
        cells = [] if one.cells is None else [one.cells]
        gates = [] if one.gates is None else [one.gates]
        return Found(one.h, [*self.states, one.states], self.cells + cells, self.gates + gates)


Calls = Generator[dict[str, Any], engine.Outputs, Found]  # yields calls of engine.run, and is sent what each returns


def run_together(*runs: Calls) -> list[Found]:
    """What several runs find; the first engine call of each goes together with that of the others, then the second."""
    found: dict[Calls, Found] = {}
    calls = {run: next(run) for run in runs}
    while calls:
        asked = list(calls.values())
        outputs = engine.run_together(asked) if len(asked) > 1 else [engine.run(**asked[0])]
        for run, one in zip(list(calls), outputs, strict=True):
            try:
                calls[run] = run.send(one)
            except StopIteration as end:
                found[run] = end.value
                del calls[run]
    return [found[run] for run in runs]
