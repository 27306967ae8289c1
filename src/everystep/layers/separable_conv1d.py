"""Convolutions of each feature by itself, along time; and those with a matrix over the features after that."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep import engine
from everystep.engine import Array, PackedMatrix
from everystep.layers.activations import activate, activated_product, activation_name, size_after
from everystep.layers.checks import whole_number
from everystep.layers.conv1d import check_apart
from everystep.layers.initializers import initializer
from everystep.layers.windows import FORMATS, Windowed, one_number, one_of


class Depthwise(Windowed):
    """What the two share: m filters of each feature."""

    refuses_short = True

    def set_depthwise(
        self,
        kernel_size: Any,
        strides: Any,
        padding: str,
        data_format: str | None,
        dilation_rate: Any,
        depth_multiplier: int,
    ) -> None:
        self.kernel_size = one_number(self.name, "kernel_size", kernel_size)
        self.strides = one_number(self.name, "strides", strides)
        self.padding = one_of(self.name, "padding", padding, ("valid", "same"))
        self.dilation_rate = one_number(self.name, "dilation_rate", dilation_rate)
        self.depth_multiplier = whole_number(self.name, "depth_multiplier", depth_multiplier)
        check_apart(self.name, self.strides[0], self.dilation_rate[0])
        self.set_windows(
            self.kernel_size[0], self.strides[0], self.dilation_rate[0], self.padding, data_format=data_format
        )

    def kernel_shape(self, input_shape: Any) -> tuple[int, int, int]:
        """(k,I,m)."""
        return self.kernel_size[0], input_shape[2 if self.data_format == FORMATS[0] else 1], self.depth_multiplier

    def depthwise(self, x: Array, count: int, kernel: Array) -> Array:
        """(B,count,I m): each number is a sum in the order of k, of one feature; nothing depends on the others."""
        shape = (x.shape[0], count, *kernel.shape[1:])
        y = np.zeros(shape, x.dtype)
        for k in range(self.window.size):
            y += self.window.tap(x, count, k)[..., None] * kernel[k]
        return y.reshape(*shape[:2], shape[2] * shape[3])


class DepthwiseConv1D(Depthwise):
    """Keras's DepthwiseConv1D: m convolutions of each feature by itself, (B,T,I) to (B,n,I m).

    Args:
        kernel_size, strides, padding, data_format, dilation_rate, activation: of `Conv1D`, without padding "causal".
        depth_multiplier: m.
        use_bias, depthwise_initializer, bias_initializer: as in Keras.
        depthwise_regularizer, bias_regularizer, activity_regularizer, depthwise_constraint, bias_constraint: kept for
            `to_keras()`.
        options: of `Layer`.

    Weights: kernel (k,I,m), bias (I m) with `use_bias`.
    """

    config_names = (
        "depth_multiplier",
        "kernel_size",
        "strides",
        "padding",
        "data_format",
        "dilation_rate",
        "activation",
        "use_bias",
        "depthwise_initializer",
        "bias_initializer",
        "depthwise_regularizer",
        "bias_regularizer",
        "activity_regularizer",
        "depthwise_constraint",
        "bias_constraint",
    )

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        bias_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **options)
        self.activation = activation_name(self.name, "activation", activation)
        self.use_bias = use_bias
        self.depthwise_initializer = initializer(depthwise_initializer)
        self.bias_initializer = initializer(bias_initializer)
        self.depthwise_regularizer = depthwise_regularizer
        self.bias_regularizer = bias_regularizer
        self.depthwise_constraint = depthwise_constraint
        self.bias_constraint = bias_constraint
        self.set_depthwise(kernel_size, strides, padding, data_format, dilation_rate, depth_multiplier)

    def build(self, input_shape: Any) -> None:
        k, I, m = self.kernel_shape(input_shape)
        self.add_weight("kernel", (k, I, m), self.depthwise_initializer)
        if self.use_bias:
            self.add_weight("bias", (I * m,), self.bias_initializer)

    def over(self, x: Array, count: int, real: Array | None) -> Array:
        y = self.depthwise(x, count, self._weights["kernel"])
        return activate(self.activation, y + self._weights["bias"] if self.use_bias else y)

    def features(self, I: int) -> int:
        return size_after(self.activation, I * self.depth_multiplier)


class SeparableConv1D(Depthwise):
    """Keras's SeparableConv1D: m convolutions of each feature by itself, then a matrix: (B,T,I) to (B,n,F).

    Args:
        filters: F.
        kernel_size, strides, padding, data_format, dilation_rate, activation: of `Conv1D`, without padding "causal".
        depth_multiplier: m.
        use_bias, depthwise_initializer, pointwise_initializer, bias_initializer: as in Keras.
        depthwise_regularizer, pointwise_regularizer, bias_regularizer, activity_regularizer, depthwise_constraint,
            pointwise_constraint, bias_constraint: kept for `to_keras()`.
        options: of `Layer`.

    Weights: depthwise_kernel (k,I,m), pointwise_kernel (1,I m,F), bias (F) with `use_bias`.
    """

    config_names = (
        "depth_multiplier",
        "filters",
        "kernel_size",
        "strides",
        "padding",
        "data_format",
        "dilation_rate",
        "activation",
        "use_bias",
        "depthwise_initializer",
        "pointwise_initializer",
        "bias_initializer",
        "depthwise_regularizer",
        "pointwise_regularizer",
        "bias_regularizer",
        "activity_regularizer",
        "depthwise_constraint",
        "pointwise_constraint",
        "bias_constraint",
    )

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
        bias_constraint: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **options)
        self.filters = whole_number(self.name, "filters", filters)
        self.activation = activation_name(self.name, "activation", activation)
        self.use_bias = use_bias
        self.depthwise_initializer = initializer(depthwise_initializer)
        self.pointwise_initializer = initializer(pointwise_initializer)
        self.bias_initializer = initializer(bias_initializer)
        self.depthwise_regularizer = depthwise_regularizer
        self.pointwise_regularizer = pointwise_regularizer
        self.bias_regularizer = bias_regularizer
        self.depthwise_constraint = depthwise_constraint
        self.pointwise_constraint = pointwise_constraint
        self.bias_constraint = bias_constraint
        self.set_depthwise(kernel_size, strides, padding, data_format, dilation_rate, depth_multiplier)

    def build(self, input_shape: Any) -> None:
        k, I, m = self.kernel_shape(input_shape)
        self.add_weight("depthwise_kernel", (k, I, m), self.depthwise_initializer)
        self.add_weight("pointwise_kernel", (1, I * m, self.filters), self.pointwise_initializer)
        if self.use_bias:
            self.add_weight("bias", (self.filters,), self.bias_initializer)

    @property
    def packed(self) -> PackedMatrix:
        """The pointwise kernel as the engine reads it."""
        packed: PackedMatrix = self.packed_weight("pointwise_kernel", lambda kernel: engine.pack_matrix(kernel[0]))
        return packed

    def over(self, x: Array, count: int, real: Array | None) -> Array:
        y = self.depthwise(x, count, self._weights["depthwise_kernel"])
        return activated_product(y, self.packed, self._weights.get("bias"), self.activation)

    def features(self, I: int) -> int:
        return size_after(self.activation, self.filters)
