"""What a model's graph is made of before any numbers flow: symbolic tensors, and the calls that make them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from everystep.layers.structure import flatten

if TYPE_CHECKING:
    from everystep.layers.operation import Operation

Array = NDArray[Any]
Shape = tuple[int | None, ...]
DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")


class History(NamedTuple):
    """Where a tensor comes from: output number `tensor_index` of call number `node_index` of `operation`."""

    operation: Operation
    node_index: int
    tensor_index: int


class Tensor:
    """A tensor of a model before it has numbers.

    Attributes:
        shape: None where a size is not known, as that of the batch.
        dtype: by name, such as "float32".
        name: of the layer that returns it.
        history: how it is made.
        mask: the mask that goes with it, (B,T) bool, a tensor too; None where there is none.
    """

    history: History

    def __init__(self, shape: Shape, dtype: str, name: str) -> None:
        self.shape = shape
        self.dtype = dtype
        self.name = name
        self.mask: Tensor | None = None

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<Tensor of {self.name!r}, shape {self.shape}, {self.dtype}>"

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"{self!r} has no numbers: make a Model of it, and call its predict with arrays")

    def __iter__(self) -> Any:
        raise TypeError(
            f"the layer {self.name!r} returns one tensor, not several. "
            "An LSTM returns its states too with return_state=True, and more with its other return_ options"
        )

    # ---- Python's operators, each an operation in the graph, as on Keras's tensors ----

    def _entered(self, kind: str, *args: Any) -> Tensor:
        from everystep.layers.operations import Function  # which makes tensors

        found: Tensor = Function(kind)(*args)
        return found

    def __getitem__(self, key: Any) -> Tensor:
        return self._entered("GetItem", self, key)

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} has no numbers, to be true or false; in a graph, select with Where or a mask")

    def __abs__(self) -> Tensor:
        return self._entered("Absolute", self)

    def __neg__(self) -> Tensor:
        return self._entered("Negative", self)

    def __invert__(self) -> Tensor:
        return self._entered("LogicalNot", self)

    def __add__(self, other: Any) -> Tensor:
        return self._entered("Add", self, other)

    def __radd__(self, other: Any) -> Tensor:
        return self._entered("Add", other, self)

    def __sub__(self, other: Any) -> Tensor:
        return self._entered("Subtract", self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return self._entered("Subtract", other, self)

    def __mul__(self, other: Any) -> Tensor:
        return self._entered("Multiply", self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return self._entered("Multiply", other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return self._entered("TrueDivide", self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return self._entered("TrueDivide", other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return self._entered("FloorDivide", self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return self._entered("FloorDivide", other, self)

    def __mod__(self, other: Any) -> Tensor:
        return self._entered("Mod", self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return self._entered("Mod", other, self)

    def __pow__(self, other: Any) -> Tensor:
        return self._entered("Power", self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return self._entered("Power", other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return self._entered("Matmul", self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return self._entered("Matmul", other, self)

    def __and__(self, other: Any) -> Tensor:
        return self._entered("LogicalAnd", self, other)

    def __rand__(self, other: Any) -> Tensor:
        return self._entered("LogicalAnd", other, self)

    def __or__(self, other: Any) -> Tensor:
        return self._entered("LogicalOr", self, other)

    def __ror__(self, other: Any) -> Tensor:
        return self._entered("LogicalOr", other, self)

    def __lt__(self, other: Any) -> Tensor:
        return self._entered("Less", self, other)

    def __le__(self, other: Any) -> Tensor:
        return self._entered("LessEqual", self, other)

    def __ne__(self, other: object) -> Any:  # as in Keras, == asks whether it is the same tensor
        return self._entered("NotEqual", self, other)

    __hash__ = object.__hash__

    def __gt__(self, other: Any) -> Tensor:
        return self._entered("Greater", self, other)

    def __ge__(self, other: Any) -> Tensor:
        return self._entered("GreaterEqual", self, other)

    __array_ufunc__ = None  # so that an array + a tensor asks the tensor


class Node:
    """One symbolic call of an operation, entered in its `nodes`.

    Attributes:
        operation: what was called.
        args, kwargs: what it was called with; the tensors in them are the graph's edges.
        inputs: those tensors, in order.
        outputs: the tensors that came, flat.
    """

    def __init__(self, operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> None:
        self.operation = operation
        self.args = args
        self.kwargs = kwargs
        self.inputs: list[Tensor] = [
            leaf for value in (*args, *kwargs.values()) for leaf in flatten(value) if isinstance(leaf, Tensor)
        ]
        self.outputs: list[Tensor] = flatten(outputs)
        for index, tensor in enumerate(self.outputs):
            tensor.history = History(operation, len(operation.nodes), index)
        operation.nodes.append(self)

    @property
    def parents(self) -> list[Node]:
        """The nodes whose outputs this one takes."""
        return [tensor.history.operation.nodes[tensor.history.node_index] for tensor in self.inputs]


def has_tensor(*values: Any) -> bool:
    """Whether any of these, or anything nested in them, is a symbolic tensor."""
    return any(isinstance(leaf, Tensor) for value in values for leaf in flatten(value))
