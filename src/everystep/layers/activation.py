"""An activation as a layer of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep.engine import Array
from everystep.layers.activations import activate, activation_name, size_after
from everystep.layers.base import Layer


class Activation(Layer):
    """Keras's Activation: an activation of each number, or of each row along the last axis (softmax, log_softmax,
    sparsemax, and glu, which halves it).

    Args:
        activation: by name.
        options: of `Layer`.
    """

    config_names = ("activation",)

    def __init__(self, activation: Any, **options: Any) -> None:
        super().__init__(**options)
        self.activation = activation_name(self.name, "activation", activation)

    def apply(self, inputs: Array) -> Array:
        return activate(self.activation, np.ascontiguousarray(inputs))

    def returns_its_input(self, before: Any, returned: Any) -> bool:
        return self.activation == "linear"

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], size_after(self.activation, input_shape[-1])) if input_shape else input_shape
