"""Functions of TensorFlow that stand as layers in functional models of tf.keras 2.4 to 2.15, as Keras 3's operations.

`x * 2.0` is a TFOpLambda with the function "math.multiply" and y = 2.0, `x[:, 0]` a SlicingOpLambda. Keras 3 has
operations with the numbers and tensors in order. A function is looked up by its name in one table; none is run.
"""

from __future__ import annotations

from typing import Any

from everystep.errors import UnsupportedError
from everystep.layers.operation import Config
from everystep.layers.operations import KINDS

OPERATIONS = ("TFOpLambda", "SlicingOpLambda")
BINARY = {  # TensorFlow's function -> Keras's operation on x and y
    "__operators__.add": "Add",
    "math.add": "Add",
    "math.subtract": "Subtract",
    "math.multiply": "Multiply",
    "math.divide": "TrueDivide",
    "math.divide_no_nan": "DivideNoNan",
    "compat.v1.floor_div": "FloorDivide",
    "math.floordiv": "FloorDivide",
    "math.floormod": "Mod",
    "math.truediv": "TrueDivide",
    "math.pow": "Power",
    "math.maximum": "Maximum",
    "math.minimum": "Minimum",
    "math.equal": "Equal",
    "math.not_equal": "NotEqual",
    "math.greater": "Greater",
    "math.greater_equal": "GreaterEqual",
    "math.less": "Less",
    "math.less_equal": "LessEqual",
    "math.logical_and": "LogicalAnd",
    "math.logical_or": "LogicalOr",
}
UNARY = {
    "math.abs": "Absolute",
    "math.ceil": "Ceil",
    "math.cos": "Cos",
    "math.exp": "Exp",
    "math.expm1": "Expm1",
    "math.floor": "Floor",
    "math.log": "Log",
    "math.log1p": "Log1p",
    "math.logical_not": "LogicalNot",
    "math.negative": "Negative",
    "math.reciprocal": "Reciprocal",
    "math.rsqrt": "Rsqrt",
    "math.sigmoid": "Sigmoid",
    "math.sign": "Sign",
    "math.sin": "Sin",
    "math.softplus": "Softplus",
    "math.sqrt": "Sqrt",
    "math.square": "Square",
    "math.tanh": "Tanh",
    "nn.relu": "Relu",
    "nn.relu6": "Relu6",
    "nn.sigmoid": "Sigmoid",
    "nn.silu": "Silu",
    "nn.softsign": "Softsign",
    "nn.tanh": "Tanh",
    "ones_like": "OnesLike",
    "tanh": "Tanh",
    "zeros_like": "ZerosLike",
}
REDUCTIONS = {
    "math.reduce_all": "All",
    "math.reduce_any": "Any",
    "math.reduce_logsumexp": "Logsumexp",
    "math.reduce_max": "Max",
    "math.reduce_mean": "Mean",
    "math.reduce_min": "Min",
    "math.reduce_prod": "Prod",
    "math.reduce_std": "Std",
    "math.reduce_sum": "Sum",
    "math.reduce_variance": "Var",
}
OTHERS: dict[str, tuple[str, dict[str, tuple[str, Any]]]] = {
    # -> Keras's operation, and its options: TensorFlow's name -> Keras's, and TensorFlow's default
    "cast": ("Cast", {"dtype": ("dtype", None)}),
    "clip_by_value": ("Clip", {"clip_value_min": ("x_min", None), "clip_value_max": ("x_max", None)}),
    "compat.v1.squeeze": ("Squeeze", {"axis": ("axis", None)}),
    "compat.v1.transpose": ("Transpose", {"perm": ("axes", None)}),
    "concat": ("Concatenate", {"axis": ("axis", None)}),
    "expand_dims": ("ExpandDims", {"axis": ("axis", None)}),
    "math.cumsum": ("Cumsum", {"axis": ("axis", 0)}),
    "nn.leaky_relu": ("LeakyRelu", {"alpha": ("negative_slope", 0.2)}),
    "nn.log_softmax": ("LogSoftmax", {"axis": ("axis", -1)}),
    "nn.softmax": ("Softmax", {"axis": ("axis", -1)}),
    "one_hot": ("OneHot", {"depth": ("num_classes", None), "dtype": ("dtype", "float32")}),
    "repeat": ("Repeat", {"repeats": ("repeats", None), "axis": ("axis", None)}),
    "reshape": ("Reshape", {"shape": ("newshape", None)}),
    "reverse": ("Flip", {"axis": ("axis", None)}),
    "squeeze": ("Squeeze", {"axis": ("axis", None)}),
    "stack": ("Stack", {"axis": ("axis", 0)}),
    "tile": ("Tile", {"multiples": ("repeats", None)}),
    "transpose": ("Transpose", {"perm": ("axes", None)}),
}
SPECIAL = ("__operators__.getitem", "linalg.matmul", "where")
# Options of TensorFlow's, in the values that change nothing.
HARMLESS = {"conjugate": False, "exclusive": False, "reverse": False, "validate_shape": True}


def operation(entry: Config, name: str, calls: list[Config], path: str) -> Config:
    """An entry of a functional config, with its calls.

    Args:
        entry: of Keras 2.
        calls: {"args": [inputs], "kwargs"}, in Keras 3's form.

    Raises:
        UnsupportedError: the function, or an option of it, has no counterpart.
    """
    function = str(entry["config"].get("function"))
    made = [_converted(function, call, path) for call in calls]
    kind, options = made[0][0], made[0][1]
    if any(one[:2] != (kind, options) for one in made):
        raise UnsupportedError(f"layer {path!r}: calls of {function} with different options are not supported")
    return {
        "module": KINDS[kind].module,
        "class_name": kind,
        "config": {"name": name, **options},
        "registered_name": kind,
        "name": name,
        "inbound_nodes": [{"args": args, "kwargs": {}} for *_, args in made],
    }


def _converted(function: str, call: Config, path: str) -> tuple[str, Config, list[Any]]:
    """Keras's operation, its options, and what it is called on, in order."""
    (x,) = call["args"]
    given = dict(call["kwargs"])
    given.pop("name", None)
    given = {key: value for key, value in given.items() if HARMLESS.get(key) is not value}
    options: Config = {}
    if function == "__operators__.getitem":
        kind, args = "GetItem", [x, _key(given.pop("slice_spec", []), path)]
    elif function in BINARY:
        if "y" not in given:
            raise UnsupportedError(f"layer {path!r}: {function} lacks y")
        kind, args = BINARY[function], [x, given.pop("y")]
    elif function in UNARY:
        kind, args = UNARY[function], [x]
    elif function in REDUCTIONS:
        kind, args = REDUCTIONS[function], [x]
        options = {"axis": given.pop("axis", None), "keepdims": given.pop("keepdims", False)}
    elif function in OTHERS:
        kind, names = OTHERS[function]
        args, options = [x], {ours: given.pop(theirs, default) for theirs, (ours, default) in names.items()}
    elif function == "where" and {"x", "y"} <= set(given):
        kind, args = "Where", [x, given.pop("x"), given.pop("y")]
    elif function == "linalg.matmul" and "b" in given:
        kind, args = "Matmul", [x, given.pop("b")]
    else:
        raise UnsupportedError(
            f"layer {path!r} is the function {function} of TensorFlow, which is not supported; supported are "
            f"{', '.join(sorted((*BINARY, *UNARY, *REDUCTIONS, *OTHERS, *SPECIAL)))}"
        )
    if given:
        raise UnsupportedError(f"layer {path!r}: {function} with {', '.join(given)} is not supported")
    return kind, options, args


def _key(spec: Any, path: str) -> Any:
    """An index as Keras 3 has it in a call: whole numbers and slices."""
    parts = spec if isinstance(spec, list) else [spec]
    return [_part(part, path) for part in parts]


def _part(part: Any, path: str) -> Any:
    if isinstance(part, dict) and set(part) == {"start", "stop", "step"}:
        return {"class_name": "__slice__", "config": part}
    if isinstance(part, dict) and part.get("class_name") == "__ellipsis__":
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(part, int) and not isinstance(part, bool):
        return part
    raise UnsupportedError(f"layer {path!r}: an index with {part!r} is not supported; supported are numbers and slices")
