"""A fully connected layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep import engine
from everystep.engine import Array, PackedMatrix
from everystep.errors import ShapeError
from everystep.layers.activations import activated_product, activation_name, size_after
from everystep.layers.base import Layer
from everystep.layers.checks import refuse_given, whole_number
from everystep.layers.initializers import initializer


class Dense(Layer):
    """y = a(x W + b) for x (B,...,K) along its last axis: Keras's Dense.

    Each number is the bias, then the products in the order of K, so its bits do not depend on the batch.

    Args:
        units: N.
        activation: by name; None is none.
        use_bias, kernel_initializer, bias_initializer: as in Keras.
        kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint: kept for
            `to_keras()`.
        lora_rank, lora_alpha, quantization_config: must be None.
        options: of `Layer`.

    Weights: kernel (K,N), bias (N) with `use_bias`.
    """

    config_names = (
        "units",
        "activation",
        "use_bias",
        "kernel_initializer",
        "bias_initializer",
        "kernel_regularizer",
        "bias_regularizer",
        "kernel_constraint",
        "bias_constraint",
        "quantization_config",
    )

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        lora_rank: Any = None,
        lora_alpha: Any = None,
        quantization_config: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **options)
        self.quantization_config = None
        refuse_given(self.name, lora_rank=lora_rank, lora_alpha=lora_alpha, quantization_config=quantization_config)
        self.units = whole_number(self.name, "units", units)
        self.activation = activation_name(self.name, "activation", activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializer(kernel_initializer)
        self.bias_initializer = initializer(bias_initializer)
        self.kernel_regularizer = kernel_regularizer
        self.bias_regularizer = bias_regularizer
        self.kernel_constraint = kernel_constraint
        self.bias_constraint = bias_constraint

    def build(self, input_shape: Any) -> None:
        self.add_weight("kernel", (input_shape[-1], self.units), self.kernel_initializer)
        if self.use_bias:
            self.add_weight("bias", (self.units,), self.bias_initializer)

    def check(self, inputs: Any) -> None:
        super().check(inputs)
        wanted = self._weights["kernel"].shape[0] if self.built else None
        if len(inputs.shape) < 2 or inputs.shape[-1] is None or wanted not in (None, inputs.shape[-1]):
            raise ShapeError(
                f"layer {self.name!r} takes (B,...,{wanted or 'K'}), with a known last size; got {tuple(inputs.shape)}"
            )

    @property
    def packed(self) -> PackedMatrix:
        """The kernel as the engine reads it."""
        packed: PackedMatrix = self.packed_weight("kernel", engine.pack_matrix)
        return packed

    def apply(self, inputs: Array) -> Array:
        x = np.ascontiguousarray(inputs)
        return activated_product(x, self.packed, self._weights.get("bias"), self.activation)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], size_after(self.activation, self.units))
