"""Keras's SimpleRNN and its cell on the engine, without Keras, with every state in reach."""

from __future__ import annotations

from typing import Any, ClassVar

from everystep import cells
from everystep.layers.cell import Cell
from everystep.layers.operation import given
from everystep.layers.recurrent import SEQUENCE_OPTIONS, Recurrent


class SimpleRNNCell(Cell):
    """One step of a SimpleRNN: Keras's SimpleRNNCell, its arguments and weights. They are explained at SimpleRNN."""

    config_names: ClassVar[tuple[str, ...]] = (
        "units", "activation", "use_bias",
        "kernel_initializer", "recurrent_initializer", "bias_initializer",
        "kernel_regularizer", "recurrent_regularizer", "bias_regularizer",
        "kernel_constraint", "recurrent_constraint", "bias_constraint",
        "dropout", "recurrent_dropout", "seed",
    )  # fmt: skip

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**given(locals()))

    @property
    def spec(self) -> cells.Cell:
        return cells.SIMPLE


class SimpleRNN(Recurrent, SimpleRNNCell):  # type: ignore[misc]  # it runs sequences, where its cell takes steps
    """A fully connected recurrent layer: Keras's SimpleRNN, its arguments, weights and numbers.

    Elman, "Finding Structure in Time" (1990): h = activation(x kernel + h recurrent_kernel + bias), as at the top of
    `engine/cells/simple.h`.

    A masked step carries h and outputs the carried h (0 with `zero_output_for_mask`). Sequences come in processing
    order, so under `go_backwards` the last time step comes first.

    Args:
        units: H.
        activation: by name, from `everystep.engine_info()["activations"]`.
        use_bias, kernel_initializer, recurrent_initializer, bias_initializer: as in Keras.
        return_sequences: return h at every step, (B,T,H), in the place of the last one, (B,H).
        return_gates: append the new h at every step, (B,T,1,H), to the outputs, last of all: as h at every step, but 0
            on masked steps. It carries no mask.
        trainable_initial_state: h before the first step is a weight, (H), after the bias, zero at first.
        the others: as of LSTM. return_cell_sequences is of an LSTM only: the state here is the output.

    Call arguments:
        as of LSTM; initial_state is h, (B,H).

    Returns:
        Keras's own outputs, first and unchanged; then the gates. One array, or a tuple of several.

    Weights: kernel (I,H), recurrent_kernel (H,H), bias (H).
    """

    our_module = "everystep.keras.simple_rnn"
    config_names: ClassVar[tuple[str, ...]] = (
        *SEQUENCE_OPTIONS,
        *SimpleRNNCell.config_names[:-1],
        "activity_regularizer",
    )  # Keras saves no seed

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: Any = None,
        zero_output_for_mask: bool = False,
        return_gates: bool = False,
        trainable_initial_state: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**given(locals()))
