"""Keras's RNN layer: its own cells, one or a stack of them, on the engine; any other cell on Keras's loop."""

from __future__ import annotations

from typing import Any

import keras

from everystep.errors import OptionError, UnsupportedError
from everystep.keras.cell import cells_of
from everystep.keras.recurrent import EXTRA_OUTPUTS, Recurrent
from everystep.keras.route import foreign


@keras.saving.register_keras_serializable("everystep")
class RNN(Recurrent):
    """Keras's RNN: same arguments, weights and numbers.

    Over an LSTMCell, a GRUCell, a SimpleRNNCell, a list of those or a StackedRNNCells of them it runs on everystep's
    engine, on JAX and CPU: the cells one after the other over the whole sequence, which gives what Keras's loop over
    steps does. Any other cell runs on Keras's own loop; `everystep.keras.routes` says why.

    All that is said of `everystep.keras.layers.LSTM` holds here, of masks, resets, order, dropout and errors. A
    masked step carries the state of every cell and outputs the carried h of the last.

    Args:
        cell: a cell, or a list of cells, the first of which sees `sequences`.
        args, kwargs: all of `keras.layers.RNN`'s arguments.
        return_cell_sequences: append c at every step, (B,T,H), of every LSTMCell, from the bottom up.
        return_gates: append the gates at every step, (B,T,G,H), of every cell, from the bottom up, last of all.

    Call arguments: those of `everystep.keras.layers.LSTM`; `initial_state` is a list of the cell's states, or for a
        list of cells a list of such lists.

    Raises:
        UnsupportedError: additions or resets of a cell that is not one of those three, or trainable_initial_state.
        OptionError: `return_cell_sequences` without an LSTMCell.
        ShapeError: a state, mask or resets does not fit `sequences`, or the batch a stateful layer.
    """

    def __init__(
        self, cell: Any, *args: Any, return_cell_sequences: bool = False, return_gates: bool = False, **kwargs: Any
    ) -> None:
        if kwargs.pop("trainable_initial_state", False):
            raise UnsupportedError("RNN has no trainable_initial_state; LSTM, GRU and SimpleRNN have it")
        super().__init__(cell, *args, return_gates=return_gates, **kwargs)
        self.return_cell_sequences = return_cell_sequences
        self._refuse_foreign([option for option in EXTRA_OUTPUTS if getattr(self, option)])
        if return_cell_sequences and not any(isinstance(cell, keras.layers.LSTMCell) for cell in cells_of(self)):
            raise OptionError(
                f"{self.name} has return_cell_sequences and no LSTMCell: the state of its cells is their output. "
                "Use return_sequences."
            )

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
        resets: Any = None,
        sequences_mask: Any = None,
    ) -> Any:
        if foreign(self):
            self._refuse_foreign([] if resets is None else ["resets"])
            return keras.layers.RNN.call(self, sequences, initial_state, mask, training)
        return super().call(sequences, initial_state, mask, training, resets, sequences_mask)

    def _refuse_foreign(self, asked: list[str]) -> None:
        reason = foreign(self)
        if asked and reason:
            raise UnsupportedError(f"{self.name}: {', '.join(asked)} cannot be had, since {reason}.")

    @classmethod
    def options(cls) -> tuple[str, ...]:
        return EXTRA_OUTPUTS
