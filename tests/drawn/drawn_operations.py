"""Every function that Keras enters in a graph between the layers, as models are drawn with it.

Of `ops`, Keras's module of functions, and two sequences x and y (B,T,F) of equal shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Made = Callable[[Any, Any, Any], Any]
_TWO = (
    "add subtract multiply maximum minimum divide true_divide divide_no_nan equal not_equal greater greater_equal less "
    "less_equal"
)
_ONE = (
    "absolute negative sign square sin cos arctan tanh floor ceil isnan isinf isfinite relu sigmoid hard_sigmoid "
    "softplus softsign silu relu6 stop_gradient expm1 sinh cosh tan exp hard_tanh elu selu sparsemax gelu squareplus "
    "log_sigmoid hard_silu celu"
)
_POSITIVE = "log log1p log2 log10 sqrt rsqrt reciprocal"
_LOGICAL = "logical_and logical_or logical_xor"
_ALONG = "sum mean var std logsumexp max min amax amin prod argmax argmin any all"


def _class(name: str) -> str:
    return {"true_divide": "TrueDivide"}.get(name, "".join(part.capitalize() for part in name.split("_")))


def _two(name: str) -> Made:
    return lambda ops, x, y: getattr(ops, name)(x, y + 3.0 if "divide" in name else y)


def _one(name: str) -> Made:
    return lambda ops, x, y: getattr(ops, name)(ops.tanh(x) if name in ("tan", "exp", "sinh", "cosh") else x)


def _positive(name: str) -> Made:
    return lambda ops, x, y: getattr(ops, name)(ops.square(x) + 0.5)


def _logical(name: str) -> Made:
    return lambda ops, x, y: getattr(ops, name)(x > 0, y > 0.25)


def _along(name: str, **options: Any) -> Made:
    as_bool = name in ("any", "all")
    return lambda ops, x, y: getattr(ops, name)(x > 0 if as_bool else x, **options)


OPERATIONS: dict[str, dict[str, Made]] = {
    **{_class(name): {"two": _two(name)} for name in _TWO.split()},
    **{_class(name): {"one": _one(name)} for name in _ONE.split()},
    **{_class(name): {"one": _positive(name)} for name in _POSITIVE.split()},
    **{_class(name): {"two": _logical(name)} for name in _LOGICAL.split()},
    **{
        _class(name): {
            "time": _along(name, axis=1),
            "features": _along(name, axis=-1),
            "keepdims": _along(name, axis=1, keepdims=True),
        }
        for name in _ALONG.split()
    },
    "Elu": {"one": _one("elu"), "alpha": lambda ops, x, y: ops.elu(x, alpha=0.5)},
    "Celu": {"one": _one("celu"), "alpha": lambda ops, x, y: ops.celu(x, alpha=0.5)},
    "Gelu": {"one": _one("gelu"), "exact": lambda ops, x, y: ops.gelu(x, approximate=False)},
    "Squareplus": {"one": _one("squareplus"), "b": lambda ops, x, y: ops.squareplus(x, b=2)},
    "Threshold": {"two": lambda ops, x, y: ops.threshold(x, 0.2, -0.5)},
    "Glu": {"last": lambda ops, x, y: ops.glu(ops.concatenate([x, y], axis=-1))},
    "Sort": {"time": lambda ops, x, y: ops.sort(x, axis=1), "last": lambda ops, x, y: ops.sort(x)},
    "Average": {
        "time": lambda ops, x, y: ops.average(x, axis=1),
        "weighted": lambda ops, x, y: ops.average(x, axis=1, weights=ops.square(y) + 0.5),
    },
    "FloorDivide": {"number": lambda ops, x, y: ops.floor_divide(x, 0.7)},
    "Mod": {"number": lambda ops, x, y: ops.mod(x, 0.7)},
    "Power": {
        "number": lambda ops, x, y: ops.power(x, 2),
        "of a number": lambda ops, x, y: ops.power(1.5, ops.tanh(x)),
    },
    "LogicalNot": {"one": lambda ops, x, y: ops.logical_not(x > 0)},
    "Where": {"three": lambda ops, x, y: ops.where(x > y, x, y), "number": lambda ops, x, y: ops.where(x > 0, x, 0.5)},
    "Clip": {"both": lambda ops, x, y: ops.clip(x, -0.4, 0.7)},
    "Round": {"0": lambda ops, x, y: ops.round(x), "1": lambda ops, x, y: ops.round(x, 1)},
    "ZerosLike": {"as x": lambda ops, x, y: ops.zeros_like(x) + y},
    "OnesLike": {"as x": lambda ops, x, y: ops.ones_like(x) * y},
    "FullLike": {"number": lambda ops, x, y: ops.full_like(x, 2.5) * y},
    "Cast": {
        "bool": lambda ops, x, y: ops.cast(x, "bool"),
        "int32": lambda ops, x, y: ops.cast(x * 3, "int32"),
        "and back": lambda ops, x, y: ops.cast(x > 0, "float64"),
    },
    "LeakyRelu": {"slope": lambda ops, x, y: ops.leaky_relu(x, negative_slope=0.3)},
    "Softmax": {"last": lambda ops, x, y: ops.softmax(x), "time": lambda ops, x, y: ops.softmax(x, axis=1)},
    "LogSoftmax": {"last": lambda ops, x, y: ops.log_softmax(x), "time": lambda ops, x, y: ops.log_softmax(x, axis=1)},
    "Cumsum": {"time": lambda ops, x, y: ops.cumsum(x, axis=1), "last": lambda ops, x, y: ops.cumsum(x, axis=-1)},
    "Cumprod": {"time": lambda ops, x, y: ops.cumprod(x, axis=1), "last": lambda ops, x, y: ops.cumprod(x, axis=-1)},
    "Reshape": {"flat": lambda ops, x, y: ops.reshape(x, (-1, x.shape[1] * x.shape[2]))},
    "ExpandDims": {"last": lambda ops, x, y: ops.expand_dims(x, -1), "2": lambda ops, x, y: ops.expand_dims(x, 2)},
    "Squeeze": {"2": lambda ops, x, y: ops.squeeze(ops.expand_dims(x, 2), 2)},
    "Transpose": {"021": lambda ops, x, y: ops.transpose(x, (0, 2, 1))},
    "Swapaxes": {"12": lambda ops, x, y: ops.swapaxes(x, 1, 2)},
    "Moveaxis": {"12": lambda ops, x, y: ops.moveaxis(x, 1, 2)},
    "Flip": {"time": lambda ops, x, y: ops.flip(x, axis=1), "last": lambda ops, x, y: ops.flip(x, axis=-1)},
    "Roll": {"time": lambda ops, x, y: ops.roll(x, 1, axis=1), "last": lambda ops, x, y: ops.roll(x, 2, axis=-1)},
    "Concatenate": {
        "last": lambda ops, x, y: ops.concatenate([x, y], axis=-1),
        "time": lambda ops, x, y: ops.concatenate([x, y], axis=1),
    },
    "Stack": {"1": lambda ops, x, y: ops.stack([x, y], axis=1), "last": lambda ops, x, y: ops.stack([x, y], axis=-1)},
    "Take": {"time": lambda ops, x, y: ops.take(x, [0, -1], axis=1), "last": lambda ops, x, y: ops.take(x, 0, axis=-1)},
    "Repeat": {"time": lambda ops, x, y: ops.repeat(x, 2, axis=1), "last": lambda ops, x, y: ops.repeat(x, 2, axis=-1)},
    "Tile": {"both": lambda ops, x, y: ops.tile(x, (1, 2, 1))},
    "Pad": {"zeros": lambda ops, x, y: ops.pad(x, ((0, 0), (1, 0), (0, 2)))},
    "OneHot": {"last": lambda ops, x, y: ops.one_hot(ops.cast(ops.absolute(ops.tanh(x)) * 3, "int32"), 4)},
    "GetItem": {
        "newest": lambda ops, x, y: x[:, -1],
        "steps": lambda ops, x, y: x[:, 1:],
        "feature": lambda ops, x, y: x[..., 0],
        "backwards": lambda ops, x, y: x[:, ::-1],
    },
    "Matmul": {"transposed": lambda ops, x, y: ops.matmul(x, ops.transpose(y, (0, 2, 1)))},
}
# Which Keras enters in no graph that is made on symbolic tensors.
NOT_DRAWN = {"ConvertToTensor": "entered by Keras where a call has a constant; it hands on what it gets"}
