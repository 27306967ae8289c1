"""Dropout, which does nothing where nothing is trained."""

from __future__ import annotations

from typing import Any

from everystep.engine import Array
from everystep.layers.base import Layer
from everystep.layers.checks import fraction


class Dropout(Layer):
    """Hands on what it gets; its arguments are Keras's, kept for `to_keras()`."""

    config_names = (
        "rate",
        "seed",
        "noise_shape",
    )

    any_dtype = True

    def __init__(self, rate: float, noise_shape: Any = None, seed: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.rate = fraction(self.name, "rate", rate)
        self.noise_shape = noise_shape
        self.seed = seed

    def apply(self, inputs: Array) -> Array:
        return inputs

    def output_dtype(self, inputs: Any) -> str:
        return str(inputs.dtype)
