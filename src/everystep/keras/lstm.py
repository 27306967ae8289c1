"""Keras's LSTM layer on the engine, with every state in reach."""

from __future__ import annotations

from typing import Any

import keras

from everystep.keras.recurrent import ADDITIONS, Recurrent


@keras.saving.register_keras_serializable("everystep")
class LSTM(Recurrent, keras.layers.LSTM):
    """Keras's LSTM: same arguments, weights and numbers. On JAX and CPU it runs on everystep's engine.

    Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997), with the forget gate of Gers, Schmidhuber and
    Cummins, "Learning to Forget" (2000); the equations are in `everystep/keras/loop.py`.

    A masked step carries h and c and outputs the carried h (0 with `zero_output_for_mask`), on every backend;
    `unroll` and `implementation` change nothing, except that `implementation=1` draws an input dropout mask per gate.
    Sequences come in processing order, so under `go_backwards` the last time step comes first.

    Args:
        units: H.
        args, kwargs: all of `keras.layers.LSTM`'s arguments.
        return_cell_sequences: append c at every step, (B,T,H), to the outputs.
        return_gates: append the gates i, f, g, o at every step, after their activation and 0 on masked steps,
            (B,T,4,H), to the outputs, last of all. They carry no mask. (Keras applies an `activity_regularizer` to
            every output.)
        trainable_initial_state: h and c before the first step are weights, (H) each, after the bias, zero at first.

    Call arguments:
        sequences: (B,T,I). T = 0 returns the initial state and empty sequences.
        initial_state: h and c, (B,H) each, in the place of zeros, of the trainable state and of a stateful layer's.
        mask: (B,T) bool; False: this step is skipped. As in Keras, a mask that comes with `sequences` is not used
            in a call that passes `initial_state`.
        training: whether to apply dropout.
        resets: (B,T) bool, aligned with `sequences`; True: before this step, masked or not, this row goes back to
            its initial state: `initial_state` if it is passed, else the trainable one or zeros.
        sequences_mask: the mask that comes with `sequences`; Keras passes it.

    Returns:
        Keras's own outputs, first and unchanged: h at the last step (B,H), or at every step (B,T,H) with
        `return_sequences`; then the last h and c, (B,H) each, with `return_state`. Then the additions.

    Raises:
        ShapeError: a state, mask or resets does not fit `sequences`, or the batch a stateful layer.
    """

    def __init__(self, *args: Any, return_cell_sequences: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.return_cell_sequences = return_cell_sequences

    @classmethod
    def options(cls) -> tuple[str, ...]:
        return ADDITIONS
