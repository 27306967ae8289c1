"""Keras's GRU layer on the engine, with its gates in reach."""

from __future__ import annotations

import keras

from everystep.keras.recurrent import Recurrent


@keras.saving.register_keras_serializable("everystep")
class GRU(Recurrent, keras.layers.GRU):
    """Keras's GRU: same arguments, weights and numbers. On JAX and CPU it runs on everystep's engine.

    Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder" (2014); with `reset_after`, Keras's
    default, the reset gate scales what the recurrent kernel makes of h, as in cuDNN, and there are two biases (2,3H).
    The equations are in `everystep/keras/loop.py`.

    All that is said of `everystep.keras.layers.LSTM` holds here, of masks, resets, order, dropout and errors. The
    state of a GRU is its output, so `return_sequences` is h at every step, and there are no cell sequences.

    Args:
        units: H.
        args, kwargs: all of `keras.layers.GRU`'s arguments.
        return_gates: append the gates z, r and the candidate g at every step, after their activation and 0 on masked
            steps, (B,T,3,H), to the outputs. They carry no mask.
        trainable_initial_state: h before the first step is a weight, (H), after the bias, zero at first.

    Call arguments: those of `everystep.keras.layers.LSTM`; `initial_state` is h, (B,H), or a list of it.

    Returns:
        Keras's own outputs, first and unchanged: h at the last step (B,H), or at every step (B,T,H) with
        `return_sequences`; then the last h (B,H), with `return_state`. Then the gates.

    Raises:
        ShapeError: a state, mask or resets does not fit `sequences`, or the batch a stateful layer.
    """
