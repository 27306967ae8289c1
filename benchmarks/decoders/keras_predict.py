"""Keras's usual loop: the two halves, and a call of `predict` for each token."""

from collections.abc import Callable

import numpy as np
from decoding import END, MOST, START, Decoding

from decoders.keras_halves import halves, versions

__all__ = ["METHODS", "prepare", "versions"]

METHODS = ("greedy",)


def prepare(d: Decoding) -> Callable[[], np.ndarray]:
    (encoder, decoder), source = halves(d), d.source

    def call() -> np.ndarray:
        h, c, *values = encoder.predict(source, verbose=0)
        tokens, ended, made = np.full(d.batch, START), np.zeros(d.batch, bool), []
        for _ in range(MOST):
            logits, h, c = decoder.predict([tokens[:, None], h, c, *values], verbose=0)
            tokens = logits[:, 0].argmax(1)
            made.append(tokens)
            ended |= tokens == END
            if ended.all():
                break
        return np.stack(made, 1)

    return call
