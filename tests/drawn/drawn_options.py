"""Every layer that is run, with every argument of its constructor in Keras, and the values that models are drawn with.

A list holds values that count each by itself; `some(...)` is values that count together. What starts with "call: " is
an argument of the call.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Some(NamedTuple):
    """Values that count together, because none is a case of its own."""

    values: tuple[Any, ...]


def some(*values: Any) -> Some:
    return Some(values)


Values = list[Any] | Some

ACTIVATIONS: list[Any] = [
    "linear", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "tanh", "sigmoid",
    "hard_sigmoid", "hard_silu", "hard_tanh", "hard_shrink", "soft_shrink", "tanh_shrink", "softplus", "softsign",
    "squareplus", "sparse_plus", "sparse_sigmoid", "exponential", "log_sigmoid", "softmax", "log_softmax", "sparsemax",
]  # fmt: skip
NOT_DRAWN = {"glu": "Keras's layers say that it leaves the shape as it is", "threshold": "a name alone does not do"}
IN_CELLS: Values = [name for name in ACTIVATIONS if name not in ("softmax", "log_softmax", "sparsemax", "exponential")]
GATES: Values = ["sigmoid", "hard_sigmoid", "tanh", "relu", "softsign", "sparse_sigmoid"]
FEW: Values = [None, "relu", "tanh", "softmax", "gelu"]

# Kept in the file, changing nothing here: drawn so that they are read, and two values are enough.
INITIALIZER: Values = some("glorot_uniform", "zeros", "he_normal", "orthogonal", "lecun_uniform")
REGULARIZER: Values = some(None, "l2", "l1")
CONSTRAINT: Values = some(None, "max_norm", "non_neg", "unit_norm")
SEED: Values = some(None, 7)
RATE: Values = [0.0, 0.4]
BOTH: Values = [False, True]
UNITS: Values = some(1, 2, 3, 4, 5)
FORMAT: Values = [None, "channels_last", "channels_first"]
AXIS: Values = [-1]


def kept(names: str, values: Values) -> dict[str, Values]:
    return dict.fromkeys(names.split(), values)


_CELL: dict[str, Values] = {
    "units": UNITS,
    "activation": IN_CELLS,
    "use_bias": BOTH,
    **kept("kernel_initializer recurrent_initializer", INITIALIZER),
    "bias_initializer": some("zeros", "ones"),
    **kept("kernel_regularizer recurrent_regularizer bias_regularizer", REGULARIZER),
    **kept("kernel_constraint recurrent_constraint bias_constraint", CONSTRAINT),
    **kept("dropout recurrent_dropout", RATE),
    "seed": SEED,
}
_GATED: dict[str, Values] = {**_CELL, "recurrent_activation": GATES}
_RUN: dict[str, Values] = {
    "return_sequences": BOTH,
    "return_state": BOTH,
    "go_backwards": BOTH,
    "stateful": BOTH,
    "unroll": BOTH,
    "zero_output_for_mask": BOTH,  # of **kwargs
    "call: mask": ["none", "implicit", "explicit"],
    "call: initial_state": ["none", "given"],
}
_RECURRENT: dict[str, Values] = {**_RUN, "activity_regularizer": REGULARIZER}
_DENSE: dict[str, Values] = {
    "use_bias": BOTH,
    "bias_initializer": some("zeros", "ones"),
    **kept("bias_regularizer activity_regularizer", REGULARIZER),
    "bias_constraint": CONSTRAINT,
}
_KERNEL: dict[str, Values] = {
    "kernel_initializer": INITIALIZER,
    "kernel_regularizer": REGULARIZER,
    "kernel_constraint": CONSTRAINT,
}
_CONVOLUTION: dict[str, Values] = {
    "filters": [2, 4],
    "kernel_size": [1, 2, 3],
    "strides": [1, 2],
    "padding": ["valid", "same", "causal"],
    "data_format": FORMAT,
    "dilation_rate": [1, 2],
    "activation": FEW,
    **_DENSE,
}
_POOL: dict[str, Values] = {
    "pool_size": [2, 3],
    "strides": [None, 1, 2],
    "padding": ["valid", "same"],
    "data_format": FORMAT,
    "name": some(None),
}
_NORMALIZED: dict[str, Values] = {
    "epsilon": [0.001, 0.1],
    "center": BOTH,
    "scale": BOTH,
    **kept("beta_initializer gamma_initializer", some("ones", "zeros")),
    **kept("beta_regularizer gamma_regularizer", REGULARIZER),
    **kept("beta_constraint gamma_constraint", CONSTRAINT),
}
_SCORES: dict[str, Values] = {
    "dropout": RATE,
    "call: mask": ["none", "implicit", "explicit"],
    "call: key": ["the value", "another"],
    "call: return_attention_scores": BOTH,
    "call: use_causal_mask": BOTH,
}
_MERGED: dict[str, Values] = {"call: inputs": ["two", "three", "vector beside sequence"], "call: mask": ["none", "all"]}

OPTIONS: dict[str, dict[str, Values]] = {
    "LSTM": {**_GATED, **_RECURRENT, "unit_forget_bias": BOTH, "use_cudnn": some("auto")},
    "GRU": {**_GATED, **_RECURRENT, "reset_after": BOTH, "use_cudnn": some("auto")},
    "SimpleRNN": {**_CELL, **_RECURRENT},
    "LSTMCell": {**_GATED, "unit_forget_bias": BOTH},
    "GRUCell": {**_GATED, "reset_after": BOTH},
    "SimpleRNNCell": dict(_CELL),
    "RNN": {"cell": ["a cell", "a list", "StackedRNNCells"], **_RUN},
    "StackedRNNCells": {"cells": [2, 3]},
    "Bidirectional": {
        "layer": ["LSTM", "GRU", "SimpleRNN", "RNN"],
        "merge_mode": ["concat", "sum", "mul", "ave", None],
        "backward_layer": ["none", "given"],
        "weights": some(None),
        "call: mask": ["none", "implicit", "explicit"],
        "call: initial_state": ["none", "given"],
    },
    "TimeDistributed": {
        "layer": ["Dense", "LSTM", "Activation", "Model", "TimeDistributed"],
        "call: mask": ["none", "implicit"],
    },
    "Dense": {"units": UNITS, "activation": [None, *ACTIVATIONS], **_DENSE, **_KERNEL},
    "Embedding": {
        "input_dim": some(5, 7),
        "output_dim": UNITS,
        "embeddings_initializer": INITIALIZER,
        "embeddings_regularizer": REGULARIZER,
        "embeddings_constraint": CONSTRAINT,
        "mask_zero": BOTH,
        "weights": some(None),
    },
    "Masking": {"mask_value": [0.0, 1.5]},
    "Activation": {"activation": ACTIVATIONS},
    "ReLU": {"max_value": [None, 1.0], "negative_slope": [0.0, 0.2], "threshold": [0.0, 0.3]},
    "LeakyReLU": {"negative_slope": [0.3, 0.1]},
    "ELU": {"alpha": [1.0, 0.5]},
    "PReLU": {
        "alpha_initializer": some("zeros", "ones"),
        "alpha_regularizer": REGULARIZER,
        "alpha_constraint": CONSTRAINT,
        "shared_axes": [None, [1]],
    },
    "Softmax": {"axis": [-1, 1], "call: mask": ["none", "explicit"]},
    "Dropout": {"rate": RATE, "noise_shape": [None, "(None, 1, None)"], "seed": SEED},
    "SpatialDropout1D": {"rate": RATE, "seed": SEED, "name": some(None), "dtype": some("float64")},
    "AlphaDropout": {"rate": RATE, "noise_shape": [None, "(None, 1, None)"], "seed": SEED},
    "GaussianDropout": {"rate": RATE, "seed": SEED},
    "GaussianNoise": {"stddev": RATE, "seed": SEED},
    "ActivityRegularization": {"l1": RATE, "l2": RATE},
    "Identity": {},
    "LayerNormalization": {"axis": [-1, 1, [1, 2]], **_NORMALIZED},
    "BatchNormalization": {
        "axis": [-1, 1],
        "momentum": some(0.99, 0.9),
        **_NORMALIZED,
        **kept("moving_mean_initializer moving_variance_initializer", some("ones", "zeros")),
        "renorm": BOTH,
        "renorm_clipping": some(None),
        "renorm_momentum": some(0.99),
        "synchronized": some(False),
        "call: mask": ["none", "implicit"],
    },
    "UnitNormalization": {"axis": [-1, 1]},
    "Normalization": {"axis": [-1, None], "mean": ["adapted", "given"], "variance": ["as mean"], "invert": BOTH},
    "Rescaling": {"scale": [0.5, -2.0], "offset": [0.0, 1.0]},
    "Conv1D": {**_CONVOLUTION, **_KERNEL, "groups": [1, 2]},
    "SeparableConv1D": {
        **_CONVOLUTION,
        "padding": ["valid", "same"],
        "depth_multiplier": [1, 2],
        **kept("depthwise_initializer pointwise_initializer", some("glorot_uniform", "he_normal")),
        **kept("depthwise_regularizer pointwise_regularizer", REGULARIZER),
        **kept("depthwise_constraint pointwise_constraint", CONSTRAINT),
    },
    "DepthwiseConv1D": {
        **{name: values for name, values in _CONVOLUTION.items() if name != "filters"},
        "padding": ["valid", "same"],
        "depth_multiplier": [1, 2],
        "depthwise_initializer": some("glorot_uniform", "he_normal"),
        "depthwise_regularizer": REGULARIZER,
        "depthwise_constraint": CONSTRAINT,
    },
    "MaxPooling1D": dict(_POOL),
    "AveragePooling1D": dict(_POOL),
    "GlobalMaxPooling1D": {"data_format": FORMAT, "keepdims": BOTH},
    "GlobalAveragePooling1D": {"data_format": FORMAT, "keepdims": BOTH, "call: mask": ["none", "implicit", "explicit"]},
    "ZeroPadding1D": {"padding": [1, (2, 1), (1, 0)], "data_format": FORMAT},
    "Cropping1D": {"cropping": [1, (1, 2), (0, 1), (1, 0)]},
    "UpSampling1D": {"size": [1, 2, 3]},
    "RepeatVector": {"n": [1, 3]},
    "Reshape": {"target_shape": ["(-1, 1)", "(-1, F)", "(F, -1)", "(-1,)"]},
    "Flatten": {"data_format": FORMAT},
    "Permute": {"dims": [(2, 1), (1, 2)]},
    "Concatenate": {"axis": [-1, 1], "call: inputs": ["two", "three"], "call: mask": ["none", "some", "all"]},
    **{kind: dict(_MERGED) for kind in ("Add", "Average", "Multiply", "Maximum", "Minimum")},
    "Subtract": {"call: inputs": ["two", "vector beside sequence"], "call: mask": ["none", "all"]},
    "Dot": {"axes": [1, 2, (2, 2), (1, 1), -1], "normalize": BOTH},
    "Attention": {**_SCORES, "use_scale": BOTH, "score_mode": ["dot", "concat"], "seed": SEED},
    "AdditiveAttention": {**_SCORES, "use_scale": BOTH},
    "MultiHeadAttention": {
        "num_heads": [1, 2],
        "key_dim": [2, 3],
        "value_dim": [None, 4],
        "dropout": RATE,
        "use_bias": BOTH,
        "output_shape": [None, 3],
        "attention_axes": [None, 1],
        "sliding_window": [None, 2],
        "flash_attention": [None, False],
        **_KERNEL,
        **_DENSE,
        "use_gate": BOTH,
        "seed": SEED,
        "call: mask": ["none", "implicit", "explicit"],
        "call: key": ["the value", "another"],
        "call: return_attention_scores": BOTH,
        "call: use_causal_mask": BOTH,
    },
}

# What no model is drawn with, and why.
REFUSED = {
    "lora_rank": "of fine-tuning: refused in a file, by name",
    "lora_alpha": "of fine-tuning: refused in a file, by name",
    "quantization_config": "of int8 weights: refused in a file, by name",
}
ALIASES = ("SeparableConvolution1D", "Convolution1D", "GlobalMaxPool1D", "MaxPool1D", "GlobalAvgPool1D", "AvgPool1D")
NO_LAYERS = {"InputLayer": "every model begins with one", "ConvLSTM": "refused, with its reason"}
EVERYWHERE = {"name": "drawn by Keras", "dtype": "every model is drawn in float64, and some again in float32"}
OURS_ALONE = ("return_cell_sequences", "return_gates", "trainable_initial_state")  # which stock Keras has not
