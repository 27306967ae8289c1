"""Calls of recurrent layers, made ready before they run, so that several can run side by side."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

from everystep.engine import Outputs

Tensor = Any  # a tensor of Keras's backend


class CellCall(NamedTuple):
    """A cell's part of a call.

    Attributes:
        arguments: of `run`, but for x: a cell takes the h of the cell below it.
        dropout: (B,I), a factor of x for all gates alike, or None.
    """

    arguments: dict[str, Any]
    dropout: Tensor | None


class Call(NamedTuple):
    """A layer's call, ready to run.

    Attributes:
        runner: the module that runs it: an adapter of the engine, or `everystep.keras.loop`.
        x: (B,T,I).
        mask: (B,T) bool in processing order, or None.
        states: before the first step, (B,H) each, in Keras's structure.
        cells: from the bottom up.
    """

    runner: ModuleType
    x: Tensor
    mask: Tensor | None
    states: Any
    cells: list[CellCall]


def run(calls: Sequence[Call]) -> list[list[Outputs]]:
    """Runs calls that do not wait for each other: the outputs of every cell of each call, from the bottom up.

    Cells of one depth run side by side.
    """
    below = [call.x for call in calls]
    found: list[list[Outputs]] = [[] for _ in calls]
    for depth in range(max(len(call.cells) for call in calls)):
        at = [k for k, call in enumerate(calls) if depth < len(call.cells)]
        for runner in {id(calls[k].runner): calls[k].runner for k in at}.values():
            together = [k for k in at if calls[k].runner is runner]
            outputs = runner.run_together([_arguments(below[k], calls[k].cells[depth]) for k in together])
            for k, of_cell in zip(together, outputs, strict=True):
                found[k].append(of_cell)
                below[k] = of_cell.h
    return found


def _arguments(x: Tensor, cell: CellCall) -> dict[str, Any]:
    return {"x": x if cell.dropout is None else x * cell.dropout[:, None], **cell.arguments}
