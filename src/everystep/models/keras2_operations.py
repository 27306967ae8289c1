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
    "math.exp": "Exp",
    "math.log": "Log",
    "math.logical_not": "LogicalNot",
    "math.negative": "Negative",
    "math.sign": "Sign",
    "math.sqrt": "Sqrt",
    "math.square": "Square",
    "math.sigmoid": "Sigmoid",
    "math.tanh": "Tanh",
    "nn.relu": "Relu",
    "nn.sigmoid": "Sigmoid",
    "nn.tanh": "Tanh",
    "tanh": "Tanh",
}
REDUCTIONS = {
    "math.reduce_all": "All",
    "math.reduce_any": "Any",
    "math.reduce_max": "Max",
    "math.reduce_mean": "Mean",
    "math.reduce_min": "Min",
    "math.reduce_sum": "Sum",
}
OTHERS = {  # -> Keras's operation, and the names of its one option there and here
    "concat": ("Concatenate", "axis", "axis"),
    "expand_dims": ("ExpandDims", "axis", "axis"),
    "reshape": ("Reshape", "shape", "newshape"),
    "transpose": ("Transpose", "perm", "axes"),
}


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
        kind, theirs, ours = OTHERS[function]
        args, options = [x], {ours: given.pop(theirs, None)}
    else:
        raise UnsupportedError(
            f"layer {path!r} is the function {function} of TensorFlow, which is not supported; supported are "
            f"{', '.join(sorted((*BINARY, *UNARY, *REDUCTIONS, *OTHERS, '__operators__.getitem')))}"
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
