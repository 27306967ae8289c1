"""Runs of recurrent layers side by side: what one run asks of the engine, and making several of them at once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from everystep import engine
from everystep.engine import Array
from everystep.layers.watching import WATCHER


class Found(NamedTuple):
    """What a run finds, before it is put in order.

    Attributes:
        h: the output, of the last cell.
        states: the last states of each cell.
        cells: c at every step, of each cell that has one, if asked for.
        gates: of each cell, if asked for.
        seen: (B,T), or (B) of the last h; where it does not hold h is to be 0. None: nowhere.
    """

    h: Array
    states: list[tuple[Array, ...]]
    cells: list[Array]
    gates: list[Array]
    seen: Array | None = None

    def above(self, one: Any) -> Found:
        """This, with what the next cell on top of these made of h: engine's `Outputs`, or the like of a step."""
        cells = [] if one.cells is None else [one.cells]
        gates = [] if one.gates is None else [one.gates]
        return Found(one.h, [*self.states, one.states], self.cells + cells, self.gates + gates)


Calls = Generator[dict[str, Any], engine.Outputs, Found]  # yields calls of engine.run, and is sent what each returns


def run_together(*runs: Calls) -> list[Found]:
    """What several runs find; the first engine call of each goes together with that of the others, then the second."""
    watcher = WATCHER.get()
    if watcher is not None:
        runs = tuple(watcher.runs(runs))
    found = _sent(runs, lambda asked: engine.run_together(asked) if len(asked) > 1 else [engine.run(**asked[0])])
    return [one if one.seen is None else one._replace(h=zero_where_masked(one.h, one.seen), seen=None) for one in found]


def zero_where_masked(h: Array, seen: Array) -> Array:
    return np.where(seen[..., None], h, np.zeros((), h.dtype))


def bound_together(*runs: Calls) -> tuple[list[Found], list[engine.Bound]]:
    """What `run_together` finds, in arrays that stay, and the calls that write it there."""
    calls = list[engine.Bound]()

    def bind(asked: list[dict[str, Any]]) -> list[engine.Outputs]:
        call, outputs = engine.bound_runs(asked)
        calls.append(call)
        return outputs

    all_found = _sent(runs, bind)
    for k, found in enumerate(all_found):
        if found.seen is not None:
            h = np.empty_like(found.h)
            calls += [partial(h.fill, 0), partial(np.copyto, h, found.h, where=found.seen[..., None])]
            all_found[k] = found._replace(h=h, seen=None)
    return all_found, calls


def _sent(runs: Sequence[Calls], make: Callable[[list[dict[str, Any]]], list[engine.Outputs]]) -> list[Found]:
    """What the runs find when they are sent what `make` returns for their calls."""
    found: dict[Calls, Found] = {}
    calls = {run: next(run) for run in runs}
    while calls:
        for run, one in zip(list(calls), make(list(calls.values())), strict=True):
            try:
                calls[run] = run.send(one)
            except StopIteration as end:
                found[run] = end.value
                del calls[run]
    return [found[run] for run in runs]


def whole(call: dict[str, Any], gates: bool = True) -> dict[str, Any]:
    """A call of engine.run that returns every step besides: h, c where there is one, and the gates if asked for."""
    with_c = "c" in call["packed"].cell.states
    return {**call, "sequences": True, "cells": with_c, "gates": gates or call["gates"]}


def part(outputs: engine.Outputs, call: dict[str, Any]) -> engine.Outputs:
    """Of what `whole(call)` returned, what the call itself returns, to the bit."""
    return outputs._replace(
        h=outputs.h if call["sequences"] else outputs.states[0],
        cells=outputs.cells if call["cells"] else None,
        gates=outputs.gates if call["gates"] else None,
    )


def run_whole(call: dict[str, Any], gates: bool = True) -> engine.Outputs:
    """What `whole(call)` returns."""
    return engine.run(**whole(call, gates))
