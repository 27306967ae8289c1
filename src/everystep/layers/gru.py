"""Keras's GRU and its cell on the engine, without Keras, with every state in reach."""

from __future__ import annotations

from typing import Any, ClassVar

from everystep import cells
from everystep.layers.cell import GatedCell
from everystep.layers.checks import check_flags
from everystep.layers.operation import given
from everystep.layers.recurrent import SEQUENCE_OPTIONS, Recurrent


class GRUCell(GatedCell):
    """One step of a GRU: Keras's GRUCell, its arguments and weights. They are explained at GRU."""

    config_names: ClassVar[tuple[str, ...]] = (
        "units", "activation", "recurrent_activation", "use_bias",
        "kernel_initializer", "recurrent_initializer", "bias_initializer",
        "kernel_regularizer", "recurrent_regularizer", "bias_regularizer",
        "kernel_constraint", "recurrent_constraint", "bias_constraint",
        "dropout", "recurrent_dropout", "reset_after", "seed",
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
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(**given(locals(), "reset_after"))
        self.reset_after = reset_after
        check_flags(self, "reset_after")

    @property
    def spec(self) -> cells.Cell:
        return cells.GRU if self.reset_after else cells.GRU_RESET_BEFORE


class GRU(Recurrent, GRUCell):  # type: ignore[misc]  # it runs sequences, where its cell takes steps
    """A gated recurrent unit: Keras's GRU, its arguments, weights and numbers.

    Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation" (2014);
    the equations are at the top of `engine/cells/gru.h`.

    A masked step carries h and outputs the carried h (0 with `zero_output_for_mask`). Sequences come in processing
    order, so under `go_backwards` the last time step comes first.

    Args:
        units: H.
        activation, recurrent_activation: by name, from `everystep.engine_info()["activations"]`.
        use_bias, kernel_initializer, recurrent_initializer, bias_initializer: as in Keras.
        reset_after: the reset gate scales what the recurrent kernel makes of h; False, as in the paper: h itself.
        return_sequences: return h at every step, (B,T,H), in the place of the last one, (B,H).
        return_gates: append the gates z, r, g at every step, after their activation and 0 on masked steps, (B,T,3,H),
            to the outputs, last of all. They carry no mask.
        trainable_initial_state: h before the first step is a weight, (H), after the bias, zero at first.
        the others: as of LSTM. return_cell_sequences is of an LSTM only: the state of a GRU is its output.

    Call arguments:
        as of LSTM; initial_state is h, (B,H).

    Returns:
        Keras's own outputs, first and unchanged; then the gates. One array, or a tuple of several.

    Weights: kernel (I,3H), recurrent_kernel (H,3H), bias (2,3H), for x and for h, or (3H) without `reset_after`; the
    columns are z, r, g.
    """

    our_module = "everystep.keras.gru"
    config_names: ClassVar[tuple[str, ...]] = (*SEQUENCE_OPTIONS, *GRUCell.config_names, "activity_regularizer")

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
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
        seed: Any = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        implementation: int = 2,
        zero_output_for_mask: bool = False,
        return_gates: bool = False,
        trainable_initial_state: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**given(locals(), "use_cudnn"))
