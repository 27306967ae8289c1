"""A recurrent layer over any of our cells, or over a stack of them."""

from __future__ import annotations

from typing import Any, ClassVar

from everystep.errors import OptionError, UnsupportedError
from everystep.layers.base import State
from everystep.layers.cell import Cell
from everystep.layers.checks import parts_of_state
from everystep.layers.composite import Composite, inner_layer, one_dtype
from everystep.layers.naming import with_article
from everystep.layers.recurrent import BY_CELL, SEQUENCE_OPTIONS, Recurrent

WANTED = "an LSTMCell, a GRUCell, a SimpleRNNCell, a list of them or StackedRNNCells"


class StackedRNNCells(Composite):
    """Keras's StackedRNNCells: cells on top of each other, for RNN to run.

    Args:
        cells: from the first, which takes the inputs, to the last, whose h is the output.
        options: of `Layer`.

    Weights: those of the cells, in their order.
    """

    parts: ClassVar[dict[str, str]] = {"cells": "cells"}
    call_arguments = Cell.call_arguments

    def __init__(self, cells: Any, dtype: Any = None, **options: Any) -> None:
        if not isinstance(cells, (list, tuple)) or not cells:
            raise OptionError(f"StackedRNNCells takes a list of cells; got {cells!r}")
        self.cells = [_cell("StackedRNNCells", cell) for cell in cells]
        super().__init__(dtype=one_dtype("StackedRNNCells", dtype, self.cells), **options)

    def build(self, input_shape: Any) -> None:
        for cell in self.cells:
            cell.build_once(input_shape)
            input_shape = (input_shape[0], cell.units)

    def initial_state(self, batch_size: int) -> State:
        return tuple(cell.first_states(batch_size) for cell in self.cells)

    def check(self, inputs: Any) -> None:
        self.cells[0].check(inputs)

    def check_call(self, call: dict[str, Any]) -> None:
        self.cells[0].check_call(call)

    def run(  # type: ignore[override]
        self, inputs: Any, state: State = None, *, states: Any = None
    ) -> tuple[Any, State]:
        """One step: h of the last cell, and, as in Keras, the new states of each."""
        h, new = self.step(inputs, state if states is None else states)
        return (h, [list(one) for one in new]), new

    def step(self, inputs_t: Any, state: State = None, **call: Any) -> tuple[Any, State]:
        """One time step (B,I): h of the last cell, and the new states of each."""
        h, new = inputs_t, []
        count = len(self.cells)
        each = [None] * count if state is None else parts_of_state(self.name, state, count, BY_CELL)
        for cell, its in zip(self.cells, each, strict=True):
            h, after = cell.step(h, its)
            new.append(after)
        return h, tuple(new)


class RNN(Recurrent, Composite):
    """Keras's RNN over our cells: its arguments, weights and numbers.

    Stacked cells run one after the other, each over all steps; a masked step carries the states of every cell.

    Args:
        cell: an LSTMCell, a GRUCell or a SimpleRNNCell; StackedRNNCells, or a list, which is made one. A cell of
            another class is refused.
        return_sequences, return_state, go_backwards, stateful, unroll, zero_output_for_mask: as of LSTM.
        return_cell_sequences: append c at every step, (B,T,H), of each LSTMCell.
        return_gates: append the gates at every step, (B,T,G,H), of each cell, last of all.
        options: of `Layer`.

    Call arguments:
        as of LSTM; initial_state is the states of the cells, in their order, grouped by cell or in one list.

    Returns:
        Keras's own outputs, first and unchanged: with `return_state`, each state of a single cell, and for stacked
        cells a list of states for each. Then c of each LSTMCell, then the gates of each cell.

    Weights: those of the cells, in their order.
    """

    our_module = "everystep.keras.rnn"
    parts: ClassVar[dict[str, str]] = {"cell": "cell"}
    config_names = SEQUENCE_OPTIONS

    def __init__(self, cell: Any, *sequence_options: Any, dtype: Any = None, **options: Any) -> None:
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell)
        self.cell = cell if isinstance(cell, StackedRNNCells) else _cell("RNN", cell)
        if options.get("trainable_initial_state"):
            raise UnsupportedError("RNN has no trainable_initial_state; LSTM, GRU and SimpleRNN have it")
        super().__init__(*sequence_options, dtype=one_dtype("RNN", dtype, [self.cell]), **options)

    @property
    def cells(self) -> list[Cell]:
        return self.cell.cells if isinstance(self.cell, StackedRNNCells) else [self.cell]

    @property
    def stacked(self) -> bool:
        return isinstance(self.cell, StackedRNNCells)

    def build(self, input_shape: Any) -> None:
        self.cell.build_once((input_shape[0], *input_shape[2:]))


def _cell(owner: str, cell: Any) -> Any:
    cell = inner_layer(owner, cell, (Cell,), WANTED)
    if isinstance(cell, Recurrent):
        raise UnsupportedError(f"{owner} takes {WANTED}; got layer {cell.name!r}, {with_article(cell.kind)}")
    return cell
