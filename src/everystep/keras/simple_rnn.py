"""Keras's SimpleRNN layer on the engine."""

from __future__ import annotations

from typing import Any

import keras

from everystep.keras.recurrent import Recurrent


@keras.saving.register_keras_serializable("everystep")
class SimpleRNN(Recurrent, keras.layers.SimpleRNN):
    """Keras's SimpleRNN: same arguments, weights and numbers. On JAX and CPU it runs on everystep's engine.

    Elman, "Finding Structure in Time" (1990); the equation is in `everystep/keras/loop.py`.

    All that is said of `everystep.keras.layers.LSTM` holds here, of masks, resets, order and errors. As in Keras,
    one dropout mask of x and one of h serve the whole run, and a rate of 1 drops everything.

    Args:
        units: H.
        args, kwargs: all of `keras.layers.SimpleRNN`'s arguments.
        return_gates: append the one gate at every step, (B,T,1,H), to the outputs: the new h, 0 on masked steps. It
            carries no mask.
        trainable_initial_state: h before the first step is a weight, (H), after the bias, zero at first.

    Call arguments: those of `everystep.keras.layers.LSTM`; `initial_state` is h, (B,H), or a list of it.

    Returns:
        Keras's own outputs, first and unchanged: h at the last step (B,H), or at every step (B,T,H) with
        `return_sequences`; then the last h (B,H), with `return_state`. Then the gate.

    Raises:
        ShapeError: a state, mask or resets does not fit `sequences`, or the batch a stateful layer.
    """

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.cell.seed}  # which Keras's own leaves out
