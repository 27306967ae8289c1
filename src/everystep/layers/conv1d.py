"""A convolution along time."""

from __future__ import annotations

from typing import Any

import numpy as np

from everystep import engine
from everystep.engine import Array, PackedMatrix
from everystep.errors import OptionError, ShapeError
from everystep.layers.activations import activate, activated_product, activation_name, size_after
from everystep.layers.checks import refuse_given, whole_number
from everystep.layers.initializers import initializer
from everystep.layers.windows import FORMATS, Windowed, one_number, one_of


class Conv1D(Windowed):
    """Keras's Conv1D: y_j = a(b + sum over k of x_(j s + k d) W_k), of (B,T,I) to (B,n,F).

    The steps of a window lie side by side, and the engine multiplies them with the kernel (k I,F): each number is the
    bias, then the products in the order of k and I, so its bits depend neither on the batch nor on where a sequence is
    cut.

    Args:
        filters: F.
        kernel_size: k.
        strides: s, how many steps the next output is on.
        padding: "valid"; "same", zeros on both sides, ceil(T / s) outputs; "causal", (k - 1) d zeros before.
        data_format: "channels_last", or "channels_first": (B,I,T) to (B,F,n), which cannot be streamed.
        dilation_rate: d, how far apart the steps of a window are; not together with strides.
        groups: the features and filters fall into so many groups, each of which sees its own features alone.
        activation: by name; None is none.
        use_bias, kernel_initializer, bias_initializer: as in Keras.
        kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint: kept for
            `to_keras()`.
        lora_rank, lora_alpha: must be None.
        options: of `Layer`.

    Weights: kernel (k,I/groups,F), bias (F) with `use_bias`.
    """

    config_names = (
        "filters",
        "kernel_size",
        "strides",
        "padding",
        "data_format",
        "dilation_rate",
        "groups",
        "activation",
        "use_bias",
        "kernel_initializer",
        "bias_initializer",
        "kernel_regularizer",
        "bias_regularizer",
        "activity_regularizer",
        "kernel_constraint",
        "bias_constraint",
    )
    refuses_short = True

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
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
        **options: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **options)
        refuse_given(self.name, lora_rank=lora_rank, lora_alpha=lora_alpha)
        self.filters = whole_number(self.name, "filters", filters)
        self.kernel_size = one_number(self.name, "kernel_size", kernel_size)
        self.strides = one_number(self.name, "strides", strides)
        self.padding = one_of(self.name, "padding", padding, ("valid", "same", "causal"))
        self.dilation_rate = one_number(self.name, "dilation_rate", dilation_rate)
        self.groups = whole_number(self.name, "groups", groups)
        if self.filters % self.groups:
            raise OptionError(
                f"layer {self.name!r}: filters must be a multiple of groups; got {self.filters} filters in "
                f"{self.groups} groups"
            )
        check_apart(self.name, self.strides[0], self.dilation_rate[0])
        self.activation = activation_name(self.name, "activation", activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializer(kernel_initializer)
        self.bias_initializer = initializer(bias_initializer)
        self.kernel_regularizer = kernel_regularizer
        self.bias_regularizer = bias_regularizer
        self.kernel_constraint = kernel_constraint
        self.bias_constraint = bias_constraint
        self.set_windows(
            self.kernel_size[0], self.strides[0], self.dilation_rate[0], self.padding, data_format=data_format
        )

    def build(self, input_shape: Any) -> None:
        I = input_shape[2 if self.data_format == FORMATS[0] else 1]
        if I % self.groups:
            raise ShapeError(
                f"layer {self.name!r}: the features must be a multiple of groups; got {I} features in {self.groups} "
                "groups"
            )
        self.add_weight("kernel", (self.kernel_size[0], I // self.groups, self.filters), self.kernel_initializer)
        if self.use_bias:
            self.add_weight("bias", (self.filters,), self.bias_initializer)

    @property
    def packed(self) -> list[PackedMatrix]:
        """The kernel (k I/groups,F/groups) of each group, as the engine reads it."""
        packed: list[PackedMatrix] = self.packed_weight("kernel", self._pack)
        return packed

    def _pack(self, kernel: Array) -> list[PackedMatrix]:
        parts = np.split(kernel.reshape(-1, self.filters), self.groups, axis=1)
        return [engine.pack_matrix(np.ascontiguousarray(part)) for part in parts]

    def over(self, x: Array, count: int, real: Array | None) -> Array:
        w, B = self.window, x.shape[0]
        windows = np.stack([w.tap(x, count, k) for k in range(w.size)], axis=2)  # (B,count,k,I)
        bias = self._weights.get("bias")
        if self.groups == 1:
            rows = windows.reshape(B, count, self.packed[0].rows)
            return activated_product(rows, self.packed[0], bias, self.activation)
        biases = [None] * self.groups if bias is None else np.split(bias, self.groups)
        outputs = []
        for part, matrix, its_bias in zip(np.split(windows, self.groups, axis=3), self.packed, biases, strict=True):
            rows = np.ascontiguousarray(part).reshape(B, count, matrix.rows)
            outputs.append(engine.product(rows, matrix, its_bias, "linear"))
        return activate(self.activation, np.concatenate(outputs, axis=2))

    def features(self, I: int) -> int:
        return size_after(self.activation, self.filters)


def check_apart(layer: str, stride: int, dilation: int) -> None:
    """Raises OptionError where both are other than 1, as Keras."""
    if stride > 1 and dilation > 1:
        raise OptionError(
            f"layer {layer!r}: strides and dilation_rate are not both greater than 1; got {stride} and {dilation}"
        )
