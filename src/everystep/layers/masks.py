"""The small functions that masks are computed by, of arrays at once or of symbolic tensors in a graph.

Keras enters them in a model's graph, and in its config, between the layers; so do we, under the same names.
Each is the same function of a whole sequence and of one step of it, but for those along the time axis.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from everystep.errors import OptionError, UnsupportedError
from everystep.layers.base import State
from everystep.layers.checks import shapes_of
from everystep.layers.operation import Config, Operation
from everystep.layers.structure import flatten
from everystep.layers.tensor import Node, Shape, Tensor, has_tensor


class Kind(NamedTuple):
    """A function.

    Attributes:
        run: of arrays and the options by keyword.
        shape: of the result, from the shapes of the arguments.
        options: with their defaults.
        dtype: of the result; None: the first argument's.
    """

    run: Callable[..., Any]
    shape: Callable[..., Shape]
    options: dict[str, Any]
    dtype: str | None


def _broadcast(a: Shape, b: Shape = ()) -> Shape:
    """Of two shapes with unknown sizes; () for a number."""
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    padded = (1,) * (len(longer) - len(shorter)) + shorter
    return tuple(y if x == 1 or (x is None and y != 1) else x for x, y in zip(longer, padded, strict=True))


def _reduced(shape: Shape, axis: int, keepdims: bool = False) -> Shape:
    axis %= len(shape)
    return (*shape[:axis], *((1,) if keepdims else ()), *shape[axis + 1 :])


def _expanded(shape: Shape, axis: int) -> Shape:
    axis %= len(shape) + 1
    return (*shape[:axis], 1, *shape[axis:])


def joined_shape(shapes: list[Shape], axis: int) -> Shape:
    """The shape of arrays of these shapes, concatenated along an axis."""
    axis %= len(shapes[0])
    sizes = [shape[axis] for shape in shapes]
    total = None if None in sizes else sum(size for size in sizes if size is not None)
    known = [next((shape[k] for shape in shapes if shape[k] is not None), None) for k in range(len(shapes[0]))]
    return (*known[:axis], total, *known[axis + 1 :])


def _like(fill: Callable[..., Any]) -> Kind:
    return Kind(lambda x, dtype: fill(x, dtype=dtype or x.dtype), lambda x, dtype: x, {"dtype": None}, "bool")


def _compare(function: Callable[..., Any]) -> Kind:
    return Kind(function, _broadcast, {}, "bool")


KINDS: dict[str, Kind] = {
    "Equal": _compare(np.equal),
    "NotEqual": _compare(np.not_equal),
    "Greater": _compare(np.greater),
    "GreaterEqual": _compare(np.greater_equal),
    "Less": _compare(np.less),
    "LessEqual": _compare(np.less_equal),
    "LogicalAnd": _compare(np.logical_and),
    "LogicalOr": _compare(np.logical_or),
    "LogicalNot": Kind(np.logical_not, lambda x: x, {}, "bool"),
    "Any": Kind(np.any, _reduced, {"axis": -1, "keepdims": False}, "bool"),
    "All": Kind(np.all, _reduced, {"axis": -1, "keepdims": False}, "bool"),
    "ExpandDims": Kind(np.expand_dims, _expanded, {"axis": -1}, None),
    "ZerosLike": _like(np.zeros_like),
    "OnesLike": _like(np.ones_like),
    "Flip": Kind(np.flip, lambda x, axis: x, {"axis": 1}, None),
    "Concatenate": Kind(np.concatenate, joined_shape, {"axis": -1}, None),
}


class MaskOperation(Operation):
    """One of `KINDS` in a graph.

    Args:
        kind: its name, which is that of Keras's operation.
        name: in the graph.
        options: of the kind.

    Raises:
        OptionError: an option is unknown, or an axis is not one whole number.
    """

    module: ClassVar[str] = "keras.src.ops.numpy"

    def __init__(self, kind: str, name: str | None = None, **options: Any) -> None:
        self._kind = kind
        super().__init__(name)
        defaults = KINDS[kind].options
        unknown = sorted(set(options) - set(defaults))
        if unknown:
            raise OptionError(f"operation {self.name!r} ({kind}) has no option {', '.join(unknown)}")
        self.options = defaults | options
        if isinstance(self.options.get("axis"), (list, tuple)) and len(self.options["axis"]) == 1:
            self.options["axis"] = self.options["axis"][0]
        if not isinstance(self.options.get("axis", 0), int):
            raise OptionError(f"operation {self.name!r} ({kind}): axis must be one whole number")

    @property
    def kind(self) -> str:
        return self._kind

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs:
            raise UnsupportedError(
                f"operation {self.name!r} ({self.kind}) has {', '.join(kwargs)} by keyword; pass all in order"
            )
        if not has_tensor(args):
            return self.run(*args)[0]
        output = self.symbolic_outputs(*args)
        Node(self, args, {}, output)
        return output

    def symbolic_outputs(self, *args: Any) -> Tensor:
        """A tensor that stands for the result."""
        first = next(leaf for leaf in flatten(args) if isinstance(leaf, Tensor))
        kind = KINDS[self.kind]
        shapes = (shapes_of(value) if has_tensor(value) else np.shape(value) for value in args)
        return Tensor(kind.shape(*shapes, **self.options), kind.dtype or first.dtype, self.name)

    def run(self, *args: Any) -> tuple[Any, State]:
        return KINDS[self.kind].run(*args, **self.options), ()

    def step(self, *args: Any) -> tuple[Any, State]:
        """As `run`, on arrays without a time axis."""
        obstacle = self.step_obstacle()
        if obstacle:
            raise UnsupportedError(f"operation {self.name!r} ({self.kind}) cannot go one step at a time: {obstacle}")
        return KINDS[self.kind].run(*args, **self.options_from_end), ()

    @property
    def options_from_end(self) -> dict[str, Any]:
        """The options, with an axis that counts from the last one, as it does with and without a time axis."""
        return self.options | ({"axis": self._axis_from_end()[0]} if "axis" in self.options else {})

    def step_obstacle(self) -> str | None:
        if "axis" in self.options and operator.eq(*self._axis_from_end()):
            return "it goes along the time axis"
        return None

    def _axis_from_end(self) -> tuple[int, int]:
        """The axis, and the time axis, counted from the end, as they are with and without a time axis."""
        node = self.nodes[0]
        rank = (node.outputs if self.kind == "ExpandDims" else node.inputs)[0].ndim
        axis = self.options["axis"]
        return (axis - rank if axis >= 0 else axis), 1 - rank

    def get_config(self) -> Config:
        return {"name": self.name, **self.options}


def apply(kind: str, *args: Any, **options: Any) -> Any:
    """A kind of arrays, or an entry in the graph where there is a symbolic tensor among the arguments."""
    if has_tensor(args):
        return MaskOperation(kind, **options)(*args)
    return KINDS[kind].run(*args, **(KINDS[kind].options | options))


def not_equal(x: Any, value: float) -> Any:
    return apply("NotEqual", x, value)


def any_feature(x: Any) -> Any:
    """Whether any entry along the last axis holds."""
    return apply("Any", x, axis=-1)


def flip(x: Any, axis: int) -> Any:
    return apply("Flip", x, axis=axis)
