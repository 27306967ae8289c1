"""One of Keras's cells as a run takes it: which cell it is, its weights and functions, the dropout that it draws."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops

from everystep.cells import GRU, GRU_RESET_BEFORE, LSTM, SIMPLE, Cell

Tensor = Any  # a tensor of Keras's backend


def cells_of(layer: keras.layers.RNN) -> list[keras.Layer]:
    """The Keras cells of a recurrent layer, from the bottom up."""
    return list(layer.cell.cells) if isinstance(layer.cell, keras.layers.StackedRNNCells) else [layer.cell]


def kind_of(cell: keras.Layer) -> Cell | None:
    """Which cell of `everystep.cells` this one is; None for one that computes something else, or may."""
    if type(cell) is keras.layers.GRUCell:
        return GRU if cell.reset_after else GRU_RESET_BEFORE
    return {keras.layers.LSTMCell: LSTM, keras.layers.SimpleRNNCell: SIMPLE}.get(type(cell))


def weights(cell: keras.Layer, dtype: str) -> dict[str, Tensor | None]:
    """kernel (I,GH), recurrent_kernel (H,GH) and bias (None without one), as a run takes them."""
    names = ("kernel", "recurrent_kernel", "bias")
    found = {name: getattr(cell, name) for name in names}
    return {name: None if weight is None else ops.cast(weight, dtype) for name, weight in found.items()}


def functions(cell: keras.Layer) -> dict[str, Any]:
    """The activation and, where the cell has one, the recurrent activation."""
    names = ("activation", "recurrent_activation")
    return {name: getattr(cell, name) for name in names if hasattr(cell, name)}


class Dropout(NamedTuple):
    """The factors that a cell draws once for a whole run; None for no dropout.

    Attributes:
        of_x: (B,I), of x for all gates alike.
        by_gate: (G,B,I), of x for each gate, in the place of `of_x`.
        recurrent: (G,B,H), of h for each gate.
    """

    of_x: Tensor | None
    by_gate: Tensor | None
    recurrent: Tensor | None


def draw_dropout(cell: keras.Layer, x_t: Tensor, h: Tensor, training: bool | None) -> Dropout:
    """What Keras's cell draws for x_t (B,I) and h (B,H); reset the cell's masks when all of a layer are drawn.

    The cell draws whenever a rate is above 0, in training or not, so that its seed goes on as in Keras.
    """
    of_x, recurrent = cell.get_dropout_mask(x_t), cell.get_recurrent_dropout_mask(h)
    # At the rate 1 Keras's SimpleRNNCell drops everything, its other cells nothing.
    most = 1 if kind_of(cell) is SIMPLE else 0
    if not (training and 0 < cell.dropout < 1 + most):
        of_x = None
    if not (training and 0 < cell.recurrent_dropout < 1 + most):
        recurrent = None
    by_gate = None
    if isinstance(of_x, list):  # one for each gate; else one for all, as `implementation=2` has it
        of_x, by_gate = None, ops.stack(of_x)
    if recurrent is not None:  # a SimpleRNNCell, of one gate, draws no list
        recurrent = ops.stack(recurrent) if isinstance(recurrent, list) else recurrent[None]
    return Dropout(of_x, by_gate, recurrent)


def forget_dropout(cell: keras.Layer) -> None:
    """Makes the cell draw anew the next time."""
    cell.reset_dropout_mask()
    cell.reset_recurrent_dropout_mask()
