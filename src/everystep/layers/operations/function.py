"""A function in a model's graph: one of `KINDS`, between the layers."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from everystep.errors import EverystepError, OptionError, UnsupportedError
from everystep.layers.operation import Config, Operation
from everystep.layers.operations.kind import is_number
from everystep.layers.operations.slicing import only_cuts, takes_newest
from everystep.layers.operations.table import KINDS
from everystep.layers.structure import map_leaves
from everystep.layers.tensor import Node, Tensor, has_tensor


class Function(Operation):
    """One of `KINDS` in a graph, under the name that Keras's operation has.

    Args:
        kind: its name, "GetItem" or "Add".
        name: in the graph.
        options: of the kind, as in the config of Keras's operation.

    Call arguments: those of Keras's operation, tensors, arrays and numbers, in order or by keyword.

    Raises:
        OptionError: the kind or an option is unknown.
    """

    def __init__(self, kind: str, name: str | None = None, **options: Any) -> None:
        if kind not in KINDS:
            raise OptionError(f"there is no operation {kind!r} here; there are {', '.join(sorted(KINDS))}")
        self._kind = kind
        self.about = KINDS[kind]
        super().__init__(name)
        unknown = sorted(set(options) - set(self.about.options))
        if unknown:
            raise OptionError(f"operation {self.name!r} ({kind}) has no option {', '.join(unknown)}")
        self.options = {key: _hashed(value) for key, value in (self.about.options | options).items()}

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in super().__getstate__().items() if key != "about"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, about=KINDS[state["_kind"]])

    @property
    def kind(self) -> str:
        return self._kind

    # ---- Calls ----

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not has_tensor(args, kwargs):
            return self.run(*args, **kwargs)[0]
        args, kwargs = _plain(args), _plain(kwargs)
        given = self.arguments(*args, **kwargs)
        output = self.symbolic_outputs(*args, **kwargs)
        if 0 in self._said(self.about.axes, *self._shapes(given)) and self.kind not in ROWS_STAY:
            raise UnsupportedError(
                f"operation {self.name!r} ({self.kind}) goes along the batch axis, so that rows would depend on each "
                "other; everystep computes each row by itself"
            )
        Node(self, args, kwargs, output)
        return output

    def arguments(self, *args: Any, **kwargs: Any) -> list[Any]:
        """The call's arguments in order.

        Raises:
            OptionError: one is missing, given twice or unknown.
        """
        names = self.about.call
        given = dict(zip(names, args, strict=False))
        wrong = [key for key in kwargs if key not in names or key in given]
        given |= kwargs
        if wrong or len(args) > len(names) or not set(names[: self.about.needed]) <= set(given):
            came = f"{len(args)} in order and {', '.join(kwargs) or 'none'} by keyword"
            raise OptionError(
                f"operation {self.name!r} ({self.kind}) takes {', '.join(names)}, the first {self.about.needed} at "
                f"least; got {came}"
            )
        return [given[name] for name in names if name in given]

    def symbolic_outputs(self, *args: Any, **kwargs: Any) -> Tensor:
        """A tensor that stands for the result."""
        given = self.arguments(*args, **kwargs)
        shapes = self._shapes(given)
        shape = self._said(self.about.shape, *shapes)
        return Tensor(shape, self._said(self.about.dtype, *map_leaves(_dtype, given)), self.name)

    def _shapes(self, given: list[Any]) -> list[Any]:
        """The arguments with a shape in the place of each array, tensor and number; the key of a slice as it is."""
        return [value if self.about.call[k] == "key" else _shape(value) for k, value in enumerate(given)]

    def _said(self, function: Any, *args: Any) -> Any:
        """What the kind says of a call; its errors name the operation."""
        try:
            return function(*args, **self.options)
        except EverystepError as error:
            raise type(error)(f"operation {self.name!r} ({self.kind}): {error}") from error

    # ---- Running ----

    def run(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """The result, of whole arrays."""
        return self._computed(self.arguments(*args, **kwargs)), ()

    def _computed(self, given: list[Any]) -> Any:
        try:
            return self._said(self.about.run, *given)
        except EverystepError:
            raise
        except (TypeError, ValueError, LookupError, ArithmeticError) as error:  # of options that a file made up
            options = f" with {self.options}" if self.options else ""
            raise OptionError(
                f"operation {self.name!r} ({self.kind}) cannot be computed of its inputs{options}: {error}"
            ) from error

    def step(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        """The result for one time step: arrays that have no time axis are taken as sequences of one step."""
        given = self.arguments(*args, **kwargs)
        with_time, stepped = self.as_sequences(given)
        if stepped:
            obstacle = self.step_obstacle()
            if obstacle:
                raise UnsupportedError(
                    f"operation {self.name!r} ({self.kind}) cannot go one step at a time: {obstacle}"
                )
        found = self._computed(with_time)
        return (found[:, 0] if stepped and not self.takes_newest else found), ()

    def as_sequences(self, given: list[Any]) -> tuple[list[Any], bool]:
        """The arguments with a time axis of one step where they lack it; and whether one did."""
        lacking = False

        def with_time(pair: tuple[Any, Any]) -> Any:
            nonlocal lacking
            tensor, value = pair
            if isinstance(tensor, Tensor) and value.ndim == tensor.ndim - 1:
                lacking = True
                return value[:, None]
            return value

        symbolic = self._symbolic
        return [_pairwise(with_time, a, b) for a, b in zip(symbolic, given, strict=True)], lacking

    def in_call(self, node: Node) -> Function:
        """Itself with that call alone: which axis is time, and whether there is one, may differ between its calls."""
        if len(self.nodes) == 1:
            return self
        alone = copy.copy(self)
        alone.nodes = [node]
        return alone

    @property
    def _symbolic(self) -> list[Any]:
        """The arguments of its call in the graph; of several calls see `in_call`."""
        node = self.nodes[0]
        return self.arguments(*node.args, **node.kwargs)

    @property
    def takes_newest(self) -> bool:
        """Whether it returns the last step of a sequence, without a time axis."""
        if self.kind != "GetItem":
            return False
        x, key = self._symbolic
        return takes_newest(x.shape, key)

    def returns_its_input(self, before: Any, returned: Any) -> bool:
        given = self._symbolic
        if self.kind in ORDERS:
            return not self.about.axes(given[0].shape, **self.options)
        if self.kind == "GetItem" and not only_cuts(given[1], known=None not in before.shape[1:]):
            return False
        same = before.shape == returned.shape and str(before.dtype) == str(returned.dtype)
        return self.kind in SAME_NUMBERS and same

    def step_obstacle(self) -> str | None:
        given = self._symbolic
        shapes = self._shapes(given)
        if self.takes_newest:
            return None
        if 1 in self.about.axes(*shapes, **self.options):
            return "it goes along the time axis"
        tensors, rank = self.nodes[0].inputs, self.nodes[0].outputs[0].ndim
        if self.about.shape in RANKS_MEET and any(tensor.ndim != rank for tensor in tensors):
            return "its arrays have different numbers of axes, so that time would meet another axis"
        for value in given:
            meets_time = isinstance(value, np.ndarray) and self.about.shape in RANKS_MEET and value.ndim >= rank - 1 > 0
            if meets_time and value.shape[1 - rank] != 1:
                return "it takes a constant with a time axis of its own"
        return None

    def serialized(self) -> Config:
        own = {"module": self.about.module, "class_name": self.kind, "registered_name": self.kind}
        return {**own, "config": self.get_config()}

    def get_config(self) -> Config:
        return {"name": self.name, **{key: _listed(value) for key, value in self.options.items()}}

    def output_words(self) -> list[str]:
        """As of a layer: what it returns, in a few words."""
        return ["output"]

    def count_params(self) -> int:
        """As of a layer: it has no weights."""
        return 0


SAME_NUMBERS = ("Reshape", "GetItem", "Cast", "ConvertToTensor")  # if shape and dtype stay
ORDERS = ("Transpose", "Swapaxes", "Moveaxis")
ROWS_STAY = ("Reshape",)  # the rows stay one after the other
RANKS_MEET = {KINDS[name].shape for name in ("Add",)}


def apply(kind: str, *args: Any, **options: Any) -> Any:
    """A kind of arrays, or an entry in the graph where there is a symbolic tensor among the arguments."""
    if has_tensor(args):
        return Function(kind, **options)(*args)
    about = KINDS[kind]
    return about.run(*args, **(about.options | options))


def _shape(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_shape(inner) for inner in value] if has_tensor(value) else np.shape(value)
    if isinstance(value, Tensor) and value.shape:
        return value.shape
    return tuple(value.shape) if hasattr(value, "shape") else ()


def _plain(structure: Any) -> Any:
    """With NumPy's numbers as Python's, which is how Keras writes them."""
    return map_leaves(lambda leaf: leaf.item() if isinstance(leaf, np.generic) else leaf, structure)


def _dtype(value: Any) -> Any:
    return value if is_number(value) or not hasattr(value, "dtype") else np.dtype(value.dtype)


def _pairwise(function: Any, tensors: Any, values: Any) -> Any:
    if isinstance(tensors, (list, tuple)) and has_tensor(tensors):
        return [_pairwise(function, a, b) for a, b in zip(tensors, values, strict=True)]
    return function((tensors, values))


def _hashed(value: Any) -> Any:
    """Lists of a config as tuples, as NumPy takes axes."""
    return tuple(_hashed(inner) for inner in value) if isinstance(value, (list, tuple)) else value


def _listed(value: Any) -> Any:
    return [_listed(inner) for inner in value] if isinstance(value, tuple) else value
