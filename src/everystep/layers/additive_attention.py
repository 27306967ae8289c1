"""Attention whose scores are a weighted sum."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from everystep import engine
from everystep.engine import Array, Bound
from everystep.layers.attention import OneHead, tanh
from everystep.layers.initializers import initializer


class AdditiveAttention(OneHead):
    """Keras's AdditiveAttention (Bahdanau et al., 2015): scores are the sum of scale tanh(query + key) over features.

    Args:
        use_scale: whether scale is a weight; else it is 1.
        dropout, seed: kept.
        options: of `Layer`.

    Weights: scale (Dq) with use_scale.
    """

    config_names = ("use_scale", "dropout", "seed")

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, seed: Any = None, **options: Any) -> None:
        super().__init__(use_scale=use_scale, dropout=dropout, seed=seed, **options)

    def build(self, input_shape: Any) -> None:
        if self.use_scale:
            self.add_weight("scale", (input_shape[0][-1],), initializer("glorot_uniform"))

    def scores(self, query: Array, key: Array) -> Array:
        summed = tanh(query[:, :, None] + key[:, None])
        return np.asarray((self._weights["scale"] * summed if self.use_scale else summed).sum(axis=-1))

    def bound_scores(self, query: Array, key: Array, scores: Array) -> list[Bound]:
        summed = np.empty((*scores.shape, key.shape[2]), scores.dtype)
        calls: list[Bound] = [
            partial(np.add, query[:, :, None], key[:, None], summed),
            engine.bound_activation("tanh", summed, summed),
        ]
        if self.use_scale:
            calls.append(partial(np.multiply, self._weights["scale"], summed, summed))
        return [*calls, partial(np.add.reduce, summed, axis=-1, out=scores)]
