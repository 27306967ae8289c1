"""Keras's LSTM and its cell on the engine, without Keras, with every state in reach."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from everystep import cells
from everystep.engine import Array
from everystep.layers.cell import GatedCell
from everystep.layers.checks import check_flags
from everystep.layers.operation import given
from everystep.layers.recurrent import SEQUENCE_OPTIONS, Recurrent


class LSTMCell(GatedCell):
    """One step of an LSTM: Keras's LSTMCell, its arguments and weights. They are explained at LSTM."""

    config_names: ClassVar[tuple[str, ...]] = (
        "units", "activation", "recurrent_activation", "use_bias", "unit_forget_bias",
        "kernel_initializer", "recurrent_initializer", "bias_initializer",
        "kernel_regularizer", "recurrent_regularizer", "bias_regularizer",
        "kernel_constraint", "recurrent_constraint", "bias_constraint",
        "dropout", "recurrent_dropout", "seed",
    )  # fmt: skip

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
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
        super().__init__(**given(locals(), "unit_forget_bias"))
        self.unit_forget_bias = unit_forget_bias
        check_flags(self, "unit_forget_bias")

    @property
    def spec(self) -> cells.Cell:
        return cells.LSTM

    def first_bias(self, shape: tuple[int, ...], dtype: str) -> Array:
        if not self.unit_forget_bias:
            return super().first_bias(shape, dtype)
        # Keras draws the bias in three pieces, i, then f as ones, then g and o together.
        draw, H = self.bias_initializer, self.units
        return np.concatenate([draw((H,), dtype), np.ones(H, dtype), draw((2 * H,), dtype)])


class LSTM(Recurrent, LSTMCell):  # type: ignore[misc]  # it runs sequences, where its cell takes steps
    """Long short-term memory: Keras's LSTM, its arguments, weights and numbers.

    Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997), with the forget gate of Gers, Schmidhuber and
    Cummins, "Learning to Forget" (2000); the equations are at the top of `engine/cells/lstm.h`.

    A masked step carries h and c and outputs the carried h (0 with `zero_output_for_mask`). Sequences come in
    processing order, so under `go_backwards` the last time step comes first.

    Args:
        units: H.
        activation, recurrent_activation: by name, from `everystep.engine_info()["activations"]`.
        use_bias, kernel_initializer, recurrent_initializer, bias_initializer, unit_forget_bias: as in Keras.
        return_sequences: return h at every step, (B,T,H), in the place of the last one, (B,H).
        return_state: return also the last h and c, (B,H) each.
        go_backwards: take the steps from the last to the first.
        zero_output_for_mask: the output of a masked step is 0.
        stateful: kept for `to_keras()`. Here each call starts from the initial state, and whoever wants to go on
            passes the state on: to `run` or `step`, or as `initial_state`.
        unroll, use_cudnn, implementation: change nothing; unroll is kept for `to_keras()`.
        return_cell_sequences: append c at every step, (B,T,H), to the outputs.
        return_gates: append the gates i, f, g, o at every step, after their activation and 0 on masked steps,
            (B,T,4,H), to the outputs, last of all. They carry no mask.
        trainable_initial_state: h and c before the first step are weights, (H) each, after the bias, zero at first.
        kernel_regularizer and the other regularizers and constraints, dropout, recurrent_dropout, seed: kept for
            `to_keras()`; they matter in training.
        options: of `Layer`.

    Call arguments:
        sequences: (B,T,I). T = 0 returns the initial state and empty sequences.
        initial_state: h and c, (B,H) each, in the place of zeros or of the trainable state.
        mask: (B,T) bool; False: this step is skipped. As in Keras, a mask that comes with `sequences` in a model is
            not used in a call that passes `initial_state`.
        resets: (B,T) bool, aligned with `sequences`; True: before this step, masked or not, this row goes back to
            its initial state: `initial_state` if it is passed, else the trainable one or zeros.

    Returns:
        Keras's own outputs, first and unchanged; then the additions. One array, or a tuple of several.

    Weights: kernel (I,4H), recurrent_kernel (H,4H), bias (4H); the columns are i, f, g, o.
    """

    our_module = "everystep.keras.lstm"
    config_names: ClassVar[tuple[str, ...]] = (*SEQUENCE_OPTIONS, *LSTMCell.config_names, "activity_regularizer")

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        implementation: int = 2,
        zero_output_for_mask: bool = False,
        return_cell_sequences: bool = False,
        return_gates: bool = False,
        trainable_initial_state: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**given(locals(), "use_cudnn"))
